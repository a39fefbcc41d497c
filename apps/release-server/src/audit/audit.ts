import { canonicalJson, sha256Hex, utf8Encode } from '@keyturn/primitives'
import type { AuditEntry } from '@keyturn/release-client'
import { ServerError } from '../errors.ts'
import { collection } from '../storage/collection.ts'
import type { Entry } from '../storage/collection.ts'
import type { MetadataStore, RecordWriter } from '../storage/metadata-store.ts'
import { exactly, mapOf, object, ShapeError, text, whole } from '../storage/shape.ts'
import type { Shape } from '../storage/shape.ts'
import { timestamp } from '../time.ts'
import { queueDeliveries } from './deliveries.ts'

/** Lock of every transaction that writes to the audit log. */
export const AUDIT_LOCK = 'audit'

/** What the log keeps about a change. */
export interface AuditNote {
  readonly actor: string
  readonly action: string
  readonly target: string
  readonly requestId: string
  readonly facts?: AuditEntry['facts'] | undefined
}

const GENESIS = '0'.repeat(64)

const fact: Shape<string | number | boolean | null> = (value, place) => {
  if (value === undefined || (typeof value === 'object' && value !== null))
    throw new ShapeError(place, 'text, a number, true, false or null')
  return value
}

/**
 * The log itself: one record for each entry. A member that nobody wrote is a change, so unknown members are refused.
 */
export const auditEntries = collection(
  'audit',
  exactly<AuditEntry>({
    sequence: whole,
    at: text,
    actor: text,
    action: text,
    target: text,
    request_id: text,
    facts: mapOf(fact),
    previous: text,
    hash: text,
  }),
)

interface Tip {
  readonly sequence: number
  readonly hash: string
  readonly at: string
}

const tips = collection('counters', object<Tip>({ sequence: whole, hash: text, at: text }))

/** Key of an entry: its sequence with leading zeros, so that keys sort as numbers do. */
export function auditKey(sequence: number): string {
  return String(sequence).padStart(16, '0')
}

function hashEntry(entry: Omit<AuditEntry, 'hash'>): string {
  return sha256Hex(utf8Encode(`keyturn-audit-v1\u0000${canonicalJson({ ...entry, facts: { ...entry.facts } })}`))
}

/**
 * Adds an entry to the hash-chained audit log, in the transaction of the change itself (which must hold
 * {@link AUDIT_LOCK}): a change that is not logged is not made.
 */
export async function appendAudit(records: RecordWriter, nowMs: number, note: AuditNote): Promise<AuditEntry> {
  const last = await tips.get(records, 'audit')
  const now = timestamp(nowMs)
  const entry = {
    sequence: (last?.sequence ?? 0) + 1,
    // A clock that was set back never makes the log go back: order is by sequence, times do not fall.
    at: last !== undefined && last.at > now ? last.at : now,
    actor: note.actor,
    action: note.action,
    target: note.target,
    request_id: note.requestId,
    facts: note.facts ?? {},
    previous: last?.hash ?? GENESIS,
  }
  const hash = hashEntry(entry)
  const whole: AuditEntry = { ...entry, hash }
  await auditEntries.put(records, { key: auditKey(entry.sequence), value: whole })
  await tips.put(records, { key: 'audit', value: { sequence: entry.sequence, hash, at: entry.at } })
  const { action: type, actor, target } = note
  await records.notify('event', JSON.stringify({ type, at: entry.at, target, actor, sequence: entry.sequence }))
  await queueDeliveries(records, nowMs, {
    type,
    data: { actor, target, sequence: entry.sequence, facts: { ...entry.facts } },
  })
  return whole
}

/**
 * Checks that entries follow from one another: sequence, link and hash of each.
 *
 * @param previous - Hash before the first entry; default: the start of the log.
 * @returns The hash of the last entry.
 * @throws ServerError `SRV_AUDIT` naming the first entry that does not follow.
 */
export function verifyAuditEntries(
  entries: Iterable<AuditEntry>,
  previous: string = GENESIS,
  firstSequence = 1,
): string {
  let link = previous
  let expected = firstSequence
  for (const { hash, ...entry } of entries) {
    if (entry.sequence !== expected || entry.previous !== link || hashEntry(entry) !== hash) {
      throw new ServerError('SRV_AUDIT', `Cannot follow the audit log at entry ${expected}`, {
        details: { sequence: expected },
      })
    }
    link = hash
    expected += 1
  }
  return link
}

async function* storedEntries(metadata: MetadataStore): AsyncGenerator<Entry<AuditEntry>[]> {
  try {
    yield* auditEntries.pages(metadata, { limit: 1000 })
  } catch (error) {
    if (!(error instanceof ServerError) || !(error.cause instanceof ShapeError)) throw error
    throw new ServerError('SRV_AUDIT', 'Cannot follow the audit log: an entry is not in the form it is written in', {
      cause: error,
    })
  }
}

/** Verifies the whole stored log, and that it ends where the store says; returns the number of entries. */
export async function verifyStoredAudit(metadata: MetadataStore): Promise<number> {
  let link = GENESIS
  let count = 0
  for await (const page of storedEntries(metadata)) {
    link = verifyAuditEntries(
      page.map(({ value }) => value),
      link,
      count + 1,
    )
    count += page.length
  }
  const last = await tips.get(metadata, 'audit')
  if ((last?.sequence ?? 0) !== count || (last?.hash ?? GENESIS) !== link) {
    throw new ServerError(
      'SRV_AUDIT',
      `Cannot follow the audit log: it ends at entry ${count}, ${last?.sequence ?? 0} were written`,
    )
  }
  return count
}

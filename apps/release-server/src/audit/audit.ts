import { timestamp } from '../time.ts'
import { canonicalJson, hexEncode, sha256, utf8Encode } from '@keyturn/primitives'
import type { JsonObject, JsonValue } from '@keyturn/primitives'
import type { AuditEntry } from '@keyturn/release-client'
import { queueDeliveries } from './deliveries.ts'
import { ServerError } from '../errors.ts'
import type { MetadataStore, RecordWriter } from '../storage/metadata-store.ts'

/** Lock of every transaction that writes to the audit log. */
export const auditLock = 'audit'

/** What is to be remembered of a change. */
export interface AuditNote {
  readonly actor: string
  readonly action: string
  readonly target: string
  readonly requestId: string
  readonly facts?: AuditEntry['facts']
}

const genesis = '0'.repeat(64)

/** Key of an entry: its sequence with leading zeros, so that keys sort as numbers do. */
export function auditKey(sequence: number): string {
  return String(sequence).padStart(16, '0')
}

function hashEntry(entry: Omit<AuditEntry, 'hash'>): string {
  return hexEncode(sha256(utf8Encode(`keyturn-audit-v1\u0000${canonicalJson(entry as unknown as JsonValue)}`)))
}

/**
 * Adds an entry to the hash-chained audit log, in the transaction of the change itself (which must hold
 * {@link auditLock}): what is not logged did not happen.
 */
export async function appendAudit(records: RecordWriter, nowMs: number, note: AuditNote): Promise<AuditEntry> {
  const last = (await records.get('counters', 'audit'))?.value as
    | { sequence: number; hash: string; at: string }
    | undefined
  const now = timestamp(nowMs)
  const entry = {
    sequence: (last?.sequence ?? 0) + 1,
    // A clock set back never makes the log go back: order is by sequence, times do not fall.
    at: last !== undefined && last.at > now ? last.at : now,
    actor: note.actor,
    action: note.action,
    target: note.target,
    request_id: note.requestId,
    facts: note.facts ?? {},
    previous: last?.hash ?? genesis,
  }
  const hash = hashEntry(entry)
  const whole: AuditEntry = { ...entry, hash }
  await records.put('audit', { key: auditKey(entry.sequence), value: whole as unknown as JsonObject })
  await records.put('counters', { key: 'audit', value: { sequence: entry.sequence, hash, at: entry.at } })
  await records.notify(
    'event',
    JSON.stringify({
      type: note.action,
      at: entry.at,
      target: note.target,
      actor: note.actor,
      sequence: entry.sequence,
    }),
  )
  await queueDeliveries(records, nowMs, note.action, {
    actor: note.actor,
    target: note.target,
    sequence: entry.sequence,
    facts: { ...entry.facts },
  })
  return whole
}

/**
 * Checks that entries follow from one another: sequence, link and hash of each.
 *
 * @param previous - Hash before the first entry; default: the start of the log.
 * @returns The hash of the last entry.
 * @throws ServerError `SRV_AUDIT` naming the first entry that does not fit.
 */
export function verifyAuditEntries(
  entries: Iterable<AuditEntry>,
  previous: string = genesis,
  firstSequence = 1,
): string {
  let link = previous
  let due = firstSequence
  for (const { hash, ...entry } of entries) {
    if (entry.sequence !== due || entry.previous !== link || hashEntry(entry) !== hash) {
      throw new ServerError('SRV_AUDIT', `Cannot follow the audit log at entry ${due}`, { details: { sequence: due } })
    }
    link = hash
    due += 1
  }
  return link
}

/** Verifies the whole stored log and that it ends where the store says; gives the number of entries. */
export async function verifyStoredAudit(metadata: MetadataStore): Promise<number> {
  let link = genesis
  let count = 0
  for (;;) {
    const page = await metadata.list('audit', { ...(count === 0 ? {} : { after: auditKey(count) }), limit: 1000 })
    if (page.length === 0) break
    link = verifyAuditEntries(
      page.map((record) => record.value as unknown as AuditEntry),
      link,
      count + 1,
    )
    count += page.length
  }
  const last = (await metadata.get('counters', 'audit'))?.value as { sequence: number; hash: string } | undefined
  if ((last?.sequence ?? 0) !== count || (last?.hash ?? genesis) !== link) {
    throw new ServerError(
      'SRV_AUDIT',
      `Cannot follow the audit log: it ends at entry ${count}, ${last?.sequence ?? 0} were written`,
    )
  }
  return count
}

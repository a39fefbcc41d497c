import { ANCHOR_DNS_NAME } from '../device-id.ts'
import type { KeyDirectory, PublishedKeys } from '../directory.ts'
import { NoiseKeysError } from '../errors.ts'
import { KeyFloors } from '../reader/floors.ts'
import { isUsable, verifyKeys } from '../reader/verify-keys.ts'
import type { KeyVerdict } from '../reader/verify-keys.ts'
import type { TransportIdentity } from '../identity.ts'
import { verifyKeyList } from '../key-list.ts'
import type { Tombstone } from '../key-list.ts'
import { isMoreRecent } from '../pkarr/signed-packet.ts'
import type { SignedPacket } from '../pkarr/signed-packet.ts'
import { ageDays } from './planner.ts'
import { MIN_OVERLAP_S } from './policy.ts'
import { parseKeyRecord } from '../record.ts'

/** What is wrong with what an identity publishes. */
export type AuditProblem =
  | 'unreachable'
  | 'nothing-published'
  | 'no-usable-key'
  | 'plain-record'
  | 'not-in-list'
  | 'missing-record'
  | 'no-list'
  | 'no-anchor'
  | 'old-key'
  | 'expires-soon'
  | 'overlap-gap'
  | 'short-overlap'
  | 'stale-relay'
  | 'refused'

/** One finding. */
export interface AuditFinding {
  readonly problem: AuditProblem
  /** Device or directory it is about. */
  readonly where: string
  readonly detail: string
}

/** What an audit says of one identity. */
export interface AuditReport {
  readonly identity: string
  readonly verdicts: readonly KeyVerdict[]
  readonly findings: readonly AuditFinding[]
}

/** When an audit speaks up. */
export interface AuditOptions {
  readonly nowS: number
  /** Age of the active key in days; 90. */
  readonly maxAgeDays?: number | undefined
  /** Days before `exp`; 14. */
  readonly expirySoonDays?: number | undefined
  readonly signal?: AbortSignal | undefined
}

/** A key that becomes active this close to a revocation replaces the revoked key. */
const REPLACEMENT_S = 300

/**
 * Looks at an identity through each directory on its own and says what a peer could stumble over: age, overlap gaps,
 * plain records, devices that are not listed, relays that lag behind.
 */
export async function auditIdentity(
  identity: TransportIdentity,
  directories: readonly KeyDirectory[],
  options: AuditOptions,
): Promise<AuditReport> {
  const findings: AuditFinding[] = []
  const found: { directory: KeyDirectory; published: PublishedKeys }[] = []
  for (const directory of directories) {
    try {
      const published = await directory.read(identity, {
        fresh: true,
        signal: options.signal,
      })
      found.push({ directory, published })
    } catch (error) {
      if (!(error instanceof NoiseKeysError)) throw error
      findings.push({ problem: 'unreachable', where: directory.name, detail: error.message })
    }
  }
  const newest = found.map(({ published }) => published.packet).reduce((most, packet) => newer(most, packet), undefined)
  for (const { directory, published } of found) {
    if (newest !== undefined && published.packet !== undefined && isMoreRecent(newest, published.packet)) {
      findings.push({
        problem: 'stale-relay',
        where: directory.name,
        detail:
          `its packet is ${(newest.timestampUs - published.packet.timestampUs) / 1_000_000n} s older than ` +
          'the newest',
      })
    }
  }
  const merged: PublishedKeys = {
    records: new Map(found.toReversed().flatMap(({ published }) => [...published.records])),
    ...pickList(found.map(({ published }) => published.list)),
    ...(newest === undefined ? {} : { packet: newest }),
  }
  const verdicts = found.length === 0 ? [] : verifyKeys(identity, merged, new KeyFloors(), { nowS: options.nowS })
  if (found.length > 0) findings.push(...lookAt(identity, merged, verdicts, options))
  return { identity: identity.name, verdicts, findings }
}

function lookAt(
  identity: TransportIdentity,
  published: PublishedKeys,
  verdicts: readonly KeyVerdict[],
  options: AuditOptions,
): AuditFinding[] {
  if (published.records.size === 0 && published.list === undefined)
    return [{ problem: 'nothing-published', where: identity.name, detail: 'no record and no list' }]
  const findings: AuditFinding[] = []
  const add = (problem: AuditProblem, where: string, detail: string): void =>
    void findings.push({ problem, where, detail })
  if (!verdicts.some(isUsable)) add('no-usable-key', identity.name, 'a peer that looks now can start no session')
  if (published.list === undefined) add('no-list', identity.name, 'devices can be found by guessing only')
  if (!published.packet?.records.some(({ name }) => name === ANCHOR_DNS_NAME))
    add('no-anchor', identity.name, 'no packet says which list is the newest')
  for (const verdict of verdicts) findings.push(...lookAtDevice(published, verdict, options))
  return [...findings, ...overlapFindings(identity, published, options)]
}

function lookAtDevice(
  published: PublishedKeys,
  { device, verdict, code, reason }: KeyVerdict,
  options: AuditOptions,
): AuditFinding[] {
  const text = published.records.get(device)
  if (text === undefined)
    return [{ problem: 'missing-record', where: device, detail: 'the list names it, its record is not there' }]
  if (code === 'NK_NOT_ACTIVE' && verdict !== 'next') return [{ problem: 'not-in-list', where: device, detail: reason }]
  if (code !== undefined && !['next', 'retired', 'revoked'].includes(verdict))
    return [{ problem: 'refused', where: device, detail: `${code}: ${reason}` }]
  const record = parseKeyRecord(text)
  if (record.format === 'plain')
    return [{ problem: 'plain-record', where: device, detail: 'its state is signed by nobody' }]
  const days = ageDays(record.timestampS, options.nowS)
  const daysLeft = Math.floor((record.expiresS - options.nowS) / 86_400)
  return [
    ...(record.state === 'active' && days >= (options.maxAgeDays ?? 90)
      ? [{ problem: 'old-key' as const, where: device, detail: `published ${days} days ago` }]
      : []),
    ...(record.state === 'active' && daysLeft < (options.expirySoonDays ?? 14)
      ? [{ problem: 'expires-soon' as const, where: device, detail: `in ${daysLeft} days` }]
      : []),
  ]
}

/** A key must be active when the old one stops answering, and the old one must answer long enough. */
function overlapFindings(
  identity: TransportIdentity,
  published: PublishedKeys,
  { nowS }: AuditOptions,
): AuditFinding[] {
  if (published.list === undefined) return []
  let entries
  let tombstones: readonly Tombstone[]
  try {
    ;({ entries, tombstones } = verifyKeyList(identity.publicKey, published.list).list)
  } catch {
    return []
  }
  const activeFrom = entries.filter(({ state }) => state === 'active').map(({ from }) => from)
  return entries
    .filter(({ state }) => state === 'retiring')
    .flatMap(({ device, until = 0 }): AuditFinding[] => {
      if (activeFrom.length === 0)
        return [{ problem: 'overlap-gap', where: device, detail: 'it is retiring and no key is active' }]
      // Where the active key took the place of a revoked one, peers learned of the rotation from that one, earlier.
      if (activeFrom.some((from) => tombstones.some(({ at }) => Math.abs(at - from) <= REPLACEMENT_S))) return []
      const overlapS = until - Math.min(...activeFrom)
      if (overlapS >= MIN_OVERLAP_S || until <= nowS) return []
      return [
        {
          problem: 'short-overlap',
          where: device,
          detail: `${overlapS} s; peers need ${MIN_OVERLAP_S} s to learn of a rotation`,
        },
      ]
    })
}

function newer(first: SignedPacket | undefined, second: SignedPacket | undefined): SignedPacket | undefined {
  if (first === undefined || second === undefined) return first ?? second
  return isMoreRecent(second, first) ? second : first
}

function pickList(lists: readonly (Uint8Array | undefined)[]): { list?: Uint8Array } {
  const list = lists.find((candidate) => candidate !== undefined)
  return list === undefined ? {} : { list }
}

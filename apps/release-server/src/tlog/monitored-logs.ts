import { originHash } from '@keyturn/tlog'
import { collection } from '../storage/collection.ts'
import type { RecordReader } from '../storage/metadata-store.ts'
import { listOf, mapOf, object, text, whole } from '../storage/shape.ts'

/** A log of somebody else, as this server has seen it. */
export interface MonitoredLog {
  readonly origin: string
  /** Entries that were read. */
  readonly size: number
  /** What follows are the hashes of the tree of that size. */
  readonly hashes: readonly string[]
  /** When it was looked at last, milliseconds since 1970; 0 before the first look. */
  readonly checkedMs: number
  /** When it answered last. */
  readonly answeredMs: number
  /** Newest offer of each channel, as it is in the log. */
  readonly offers: Readonly<Record<string, string>>
  /** Highest sequence of a release of each channel. */
  readonly releases: Readonly<Record<string, number>>
  /** Offers that a channel made at the last look, and that were not the newest in the log. */
  readonly unlogged: Readonly<Record<string, string>>
  /** What is wrong, in words; empty when nothing is. */
  readonly findings: readonly string[]
  /** Those of them that the webhook has been sent. */
  readonly sent: readonly string[]
}

/** By the hash of the origin. */
export const monitoredLogs = collection(
  'monitored-logs',
  object<MonitoredLog>({
    origin: text,
    size: whole,
    hashes: listOf(text),
    checkedMs: whole,
    answeredMs: whole,
    offers: mapOf(text),
    releases: mapOf(whole),
    unlogged: mapOf(text),
    findings: listOf(text),
    sent: listOf(text),
  }),
)

/** A log before the first look. */
export function notSeenYet(origin: string, nowMs: number): MonitoredLog {
  const nothing = { hashes: [], offers: {}, releases: {}, unlogged: {}, findings: [], sent: [] }
  return { origin, size: 0, checkedMs: 0, answeredMs: nowMs, ...nothing }
}

/** What is stored of a log. */
export async function readMonitored(records: RecordReader, origin: string): Promise<MonitoredLog | undefined> {
  return await monitoredLogs.get(records, originHash(origin))
}

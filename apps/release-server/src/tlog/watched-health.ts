import { timestamp } from '../time.ts'
import type { RecordReader } from '../storage/metadata-store.ts'
import { monitoredLogs } from './monitored-logs.ts'
import type { MonitoredLog } from './monitored-logs.ts'

/** A check of a health answer. */
export interface WatchedCheck {
  readonly name: string
  readonly status: 'pass' | 'warn'
  readonly detail: string
}

/** A monitor that looks every minute has stopped. */
const STALE_MS = 10 * 60_000
/** A log that was not looked at for so long is not watched any more. */
const FORGOTTEN_MS = 7 * 86_400_000

/**
 * What this server has found in the logs of others that it watches; empty where it watches none.
 *
 * @param named - Whether the caller may read their names.
 */
export async function watchedLogChecks(
  records: RecordReader,
  { named, nowMs }: { readonly named: boolean; readonly nowMs: number },
): Promise<WatchedCheck[]> {
  const logs = (await monitoredLogs.all(records)).map(({ value }) => value)
  const checks = logs.filter(({ checkedMs }) => nowMs - checkedMs < FORGOTTEN_MS).map((log) => checkOf(log, nowMs))
  if (named || checks.length === 0) return checks
  const wrong = checks.filter(({ status }) => status === 'warn').length
  const detail = `${wrong} of ${checks.length} have findings; ask with a token for their names`
  return [{ name: 'watched-logs', ...(wrong === 0 ? SOUND : { status: 'warn' as const, detail }) }]
}

const SOUND = { status: 'pass', detail: 'nothing is wrong' } as const

function checkOf({ origin, checkedMs, findings, size }: MonitoredLog, nowMs: number): WatchedCheck {
  const name = `watched-log:${origin}`
  if (findings.length > 0) return { name, status: 'warn', detail: findings.join('; ') }
  if (nowMs - checkedMs > STALE_MS)
    return { name, status: 'warn', detail: `not looked at since ${timestamp(checkedMs)}` }
  return { name, status: 'pass', detail: `${size} entries, nothing is wrong` }
}

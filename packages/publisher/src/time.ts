import { formatTime } from '@keyturn/manifest/publish'

const DAY_MS = 86_400_000

/**
 * A time as signed documents have it.
 *
 * @param nowMs - Milliseconds since the epoch.
 * @param days - How many days later.
 */
export function daysFrom(nowMs: number, days: number): string {
  return formatTime(nowMs + days * DAY_MS)
}

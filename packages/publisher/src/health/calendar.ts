import { createHash } from 'node:crypto'
import type { HomeStatus } from './collect-status.ts'

/**
 * Writes every due date as a calendar file (RFC 5545): one all-day entry each, with a reminder a week before. The same
 * key keeps its entry's identity, so that importing the file again moves it instead of doubling it.
 *
 * @param status - From `collectStatus`.
 * @param nowMs - Now.
 */
export function writeCalendar(status: Pick<HomeStatus, 'product' | 'prefix' | 'items'>, nowMs: number): string {
  const lines = ['BEGIN:VCALENDAR', 'VERSION:2.0', 'PRODID:-//keyturn//status//EN', 'CALSCALE:GREGORIAN']
  for (const item of status.items) {
    const { kind, id, due } = item
    if (due === undefined) continue
    const uid = createHash('sha256').update(`${status.prefix} ${kind} ${id}`).digest('hex').slice(0, 32)
    lines.push(
      'BEGIN:VEVENT',
      `UID:${uid}@keyturn`,
      `DTSTAMP:${stamp(nowMs)}`,
      `DTSTART;VALUE=DATE:${day(due)}`,
      `SUMMARY:${escape(`${status.product}: rotate ${kind} ${id}`)}`,
      `DESCRIPTION:${escape(item.mend)}`,
      'BEGIN:VALARM',
      'ACTION:DISPLAY',
      'TRIGGER:-P7D',
      `DESCRIPTION:${escape(`${status.product}: ${kind} ${id} is due in a week`)}`, // words: allow, a date
      'END:VALARM',
      'END:VEVENT',
    )
  }
  lines.push('END:VCALENDAR')
  return `${lines.flatMap(fold).join('\r\n')}\r\n`
}

function stamp(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19).replaceAll(/[-:]/g, '')}Z`
}

function day(iso: string): string {
  return iso.slice(0, 10).replaceAll('-', '')
}

function escape(text: string): string {
  return text.replaceAll(/[\\;,]/g, (character) => `\\${character}`)
}

/** RFC 5545 §3.1: lines of at most 75 bytes, continued by a space. All our text is ASCII. */
function fold(line: string): string[] {
  const parts = [line.slice(0, 75)]
  for (let at = 75; at < line.length; at += 74) parts.push(` ${line.slice(at, at + 74)}`)
  return parts
}

import { printable } from '@keyturn/primitives'
import { CliError } from '../errors.ts'

const AT = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d)(?::(\d\d))?(?:Z|[+-]\d\d:\d\d)$/

/** The value of `--at`. A time has its zone: a time without one means another moment on each machine. */
export function parseAt(text: string): number {
  const match = AT.exec(text)
  const [, year = '', month = '', day = ''] = match ?? []
  const timeMs = match === null ? Number.NaN : Date.parse(text)
  // Date.parse lets 30 February pass as 1 March.
  const isDay = new Date(Date.UTC(Number(year), Number(month) - 1, Number(day))).getUTCDate() === Number(day)
  if (!Number.isNaN(timeMs) && isDay) return timeMs
  throw new CliError('CLI_USAGE', `--at wants a time with its zone, got "${printable(text, 40)}"`, {
    hint: 'Give it in UTC, like 2026-12-04T18:00Z, or with an offset, like 2026-12-04T19:00+01:00',
  })
}

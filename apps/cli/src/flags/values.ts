import { printable } from '@keyturn/primitives'
import { CliError } from '../errors.ts'

/**
 * Reads a whole number given to a flag.
 *
 * @throws {@link CliError} `CLI_USAGE`.
 */
export function wholeNumber(text: string, flag: string, min: number, max: number): number {
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN
  if (value >= min && value <= max) return value
  throw new CliError('CLI_USAGE', `${flag} wants a whole number from ${min} to ${max}, not "${printable(text, 40)}"`)
}

/** Reads a power of two given to a flag. @throws {@link CliError} `CLI_USAGE`. */
export function powerOfTwo(text: string, flag: string, min: number, max: number): number {
  const value = wholeNumber(text, flag, min, max)
  if ((value & (value - 1)) !== 0) throw new CliError('CLI_USAGE', `${flag} wants a power of two, not ${value}`)
  return value
}

/** Collects a flag that may be given several times. */
export function collect(value: string, previous: readonly string[] | undefined): string[] {
  return [...(previous ?? []), value]
}

const UNITS_MS: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000 }

/** Reads a time given to a flag, such as `90m`, in milliseconds. @throws {@link CliError} `CLI_USAGE`. */
export function durationMs(text: string, flag: string): number {
  const match = /^([1-9][0-9]{0,4})([mhd])$/.exec(text)
  if (match === null) throw new CliError('CLI_USAGE', `${flag} wants a number and m, h or d: 90m, 24h, 7d`)
  return Number(match[1]) * (UNITS_MS[match[2] ?? ''] as number)
}

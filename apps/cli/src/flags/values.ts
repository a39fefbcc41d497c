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

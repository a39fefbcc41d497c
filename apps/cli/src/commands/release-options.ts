import { CliError } from '../errors.ts'
import type { HomeDescription } from '../home.ts'

/** Options that commands about a channel share. */
export interface ChannelOption {
  /** `--channel`; default: that of the home. */
  readonly channel?: string
}

/** Channel a command is about. */
export function channelOf(options: ChannelOption, description: HomeDescription): string {
  const channel = options.channel ?? description.channel
  if (!/^[a-z0-9-]{1,64}$/.test(channel)) throw new CliError('CLI_USAGE', '--channel wants a-z, 0-9 and dashes, at most 64')
  return channel
}

/** A whole number given as a flag. */
export function wholeNumber(text: string, flag: string, min: number, max: number): number {
  const value = Number(text)
  if (text.trim() !== '' && Number.isInteger(value) && value >= min && value <= max) return value
  throw new CliError('CLI_USAGE', `${flag} wants a whole number from ${min} to ${max}`)
}

/** Collects a flag that may be given several times. */
export function collect(value: string, previous: readonly string[] | undefined): string[] {
  return [...(previous ?? []), value]
}

import { CliError } from '../errors.ts'
import type { HomeDescription } from '@keyturn/publisher'

/** Options that commands about a channel share. */
export interface ChannelOption {
  /** `--channel`; default: that of the home. */
  readonly channel?: string
}

/** Channel a command is about. */
export function channelOf(options: ChannelOption, description: HomeDescription): string {
  const channel = options.channel ?? description.channel
  if (!/^[a-z0-9-]{1,64}$/.test(channel))
    throw new CliError('CLI_USAGE', '--channel wants a-z, 0-9 and dashes, at most 64')
  return channel
}

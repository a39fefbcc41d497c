import { checkChannelName } from '@keyturn/publisher'
import type { HomeDescription } from '@keyturn/publisher'

/** Options that commands about a channel share. */
export interface ChannelOption {
  /** `--channel`; default: that of the home. */
  readonly channel?: string | undefined
}

/** Channel a command is about. */
export function channelOf(options: ChannelOption, description: HomeDescription): string {
  return checkChannelName(options.channel ?? description.channel)
}

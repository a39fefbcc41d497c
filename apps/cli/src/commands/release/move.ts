import { moveRelease } from '@keyturn/publisher/ship'
import type { CommandResult, Context } from '../../command.ts'
import type { ChannelOption } from '../../flags/channel.ts'
import { wholeNumber } from '../../flags/values.ts'
import { publishedText } from './change-offer.ts'
import type { OfferOptions } from './change-offer.ts'
import { warnOfKey } from './key-problem.ts'

/** How a promoted release is offered. */
export interface ShareOptions {
  readonly percent?: string | undefined
  readonly resume?: boolean | undefined
}

/** Where the files of a release go: `to` another channel, or back on their own. */
export interface Move {
  readonly version: string | undefined
  readonly to: string | undefined
  readonly rollback: boolean
}

/** Makes, signs and offers a release with the files of another one, on the same channel or on another. */
export async function reissue(
  context: Context,
  options: ChannelOption & OfferOptions & ShareOptions,
  move: Move,
): Promise<CommandResult> {
  const percent = options.percent === undefined ? undefined : wholeNumber(options.percent, '--percent', 0, 100)
  const { from, channel, made } = await moveRelease(context, {
    ...options,
    ...move,
    from: options.channel,
    percent,
    confirm: (question) => context.ask.confirm(question),
  })
  if (made === undefined)
    return { data: { from, channel }, text: `Would offer the files of ${from} on ${channel} again` }
  warnOfKey(context, channel, made.report)
  const share = made.percent === undefined ? '' : ` to ${made.percent} %`
  return {
    data: {
      version: made.version,
      sequence: made.sequence,
      from,
      channel,
      head_sequence: made.headSequence,
      percent: made.percent,
      published: made.report !== undefined,
    },
    text: `${made.version} offers the files of ${from} on ${channel}${share}; ${publishedText(made)}`,
  }
}

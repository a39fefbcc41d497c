import { hexEncode, systemRandom } from '@keyturn/primitives'
import { checkMayReplace, findRelease, offerRelease, pinOf, putOffer, readKnownHeads } from '@keyturn/publisher/release'
import type { CommandResult, Context } from '../../command.ts'
import { channelOf } from '../../flags/channel.ts'
import type { ChannelOption } from '../../flags/channel.ts'
import { wholeNumber } from '../../flags/values.ts'
import { offerClient, publishedText } from './change-offer.ts'
import type { OfferOptions } from './change-offer.ts'
import { openToRelease } from './open.ts'
import { reissueRelease } from './reissue.ts'
import type { ReissuePlan } from './reissue.ts'

/** How a promoted release is offered. */
export interface ShareOptions {
  readonly percent?: string
  readonly resume?: boolean
}

type Move = Omit<ReissuePlan, 'channel'> & { readonly channel: string | undefined }

/** Makes, signs and offers a release with the files of another one, on the same channel or on another. */
export async function reissue(
  context: Context,
  options: ChannelOption & OfferOptions & ShareOptions,
  version: string | undefined,
  move: Move,
): Promise<CommandResult> {
  const home = await openToRelease(context, { write: !context.dryRun })
  const source = await findRelease(home.paths, channelOf(options, home.description), version)
  const channel = channelOf(move.channel === undefined ? {} : { channel: move.channel }, home.description)
  if (context.dryRun) {
    return {
      data: { from: source.manifest.version, channel },
      text: `Would offer the files of ${source.manifest.version} on ${channel} again`,
    }
  }
  const client = await offerClient(options, home)
  const { base } = await readKnownHeads(home, channel, client)
  // Looked at before anything is made and signed. Going back is the way out of a halt and of a rollout.
  const change = move.rollback ? { percent: 100, resume: true } : shareOf(options)
  // A withdrawn release may be right on another channel; going back to it on its own never is.
  if (base !== undefined) checkMayReplace(base.head, pinOf(source), change)
  const made = await reissueRelease(context, home, source, { ...move, channel })
  const { nowMs, signal } = { nowMs: context.clock(), signal: context.signal }
  const offer = offerRelease(base?.head, pinOf(made), { ...change, salt: hexEncode(systemRandom(16)) })
  const done = await putOffer(home, channel, { offer, base: base?.head, client, nowMs, signal })
  return {
    data: {
      version: made.manifest.version,
      sequence: made.manifest.sequence,
      from: source.manifest.version,
      channel,
      head_sequence: done.head.head.sequence,
      percent: offer.rollout?.percent,
      published: done.report !== undefined,
    },
    text:
      `${made.manifest.version} offers the files of ${source.manifest.version} on ${channel}` +
      `${offer.rollout === undefined ? '' : ` to ${offer.rollout.percent} %`}; ${publishedText(done)}`,
  }
}

function shareOf({ percent, resume }: ShareOptions): { percent: number | undefined; resume: boolean | undefined } {
  return { percent: percent === undefined ? undefined : wholeNumber(percent, '--percent', 0, 100), resume }
}

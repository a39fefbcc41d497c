import type { CommandResult, Context } from '../../command.ts'
import { findRelease } from '@keyturn/publisher/release'
import { openToRelease } from './open.ts'
import { offer, publishedText } from './offer.ts'
import type { OfferOptions } from './offer.ts'
import { channelOf } from '../../flags/channel.ts'
import type { ChannelOption } from '../../flags/channel.ts'
import { reissueRelease } from './reissue.ts'
import type { ReissuePlan } from './reissue.ts'

type Move = Omit<ReissuePlan, 'channel'> & { readonly channel: string | undefined }

export async function reissue(
  context: Context,
  options: ChannelOption & OfferOptions,
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
  const made = await reissueRelease(context, home, source, { ...move, channel })
  const { head, published } = await offer(context, home, made, options)
  return {
    data: {
      version: made.manifest.version,
      sequence: made.manifest.sequence,
      from: source.manifest.version,
      channel,
      head_sequence: head.head.sequence,
      published,
    },
    text: `${made.manifest.version} offers the files of ${source.manifest.version} on ${channel}; ${publishedText(published)}`,
  }
}

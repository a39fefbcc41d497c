import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { findRelease } from '@keyturn/publisher/release'
import { openToRelease } from './open.ts'
import { offer, publishedText, withOffer } from './offer.ts'
import type { OfferOptions } from './offer.ts'
import { channelOf } from '../../flags/channel.ts'
import type { ChannelOption } from '../../flags/channel.ts'
import { reissueRelease } from './reissue.ts'
import type { ReissuePlan } from './reissue.ts'

interface PromoteOptions extends ChannelOption, OfferOptions {
  readonly to: string
}

/** Registers `keyturn release promote`. */
export function registerPromote(release: Command, cli: Cli): void {
  const promote = withOffer(
    release
      .command('promote')
      .description('offer the files of a release on another channel: a new manifest there, signed by the release key')
      .argument('[version]', 'which release (default: the newest)')
      .option('--channel <name>', 'the channel it is on (default: that of the home)')
      .requiredOption('--to <name>', 'the channel that gets it'),
  )
  cli.define<PromoteOptions>(promote, {
    example: 'keyturn release promote --channel beta --to stable',
    dryRun: true,
    run: (context, options, [version]) => reissue(context, options, version, { channel: options.to, rollback: false }),
  })
}

/** Registers `keyturn release rollback`. */
export function registerRollback(release: Command, cli: Cli): void {
  const rollback = withOffer(
    release
      .command('rollback')
      .description('bring back the files of an older release under a new sequence, signed by the release key')
      .argument('<version>', 'the release to go back to')
      .option('--channel <name>', 'the channel (default: that of the home)'),
  )
  cli.define<ChannelOption & OfferOptions>(rollback, {
    example: 'keyturn release rollback 2026.11.20-1',
    dryRun: true,
    run: (context, options, [version]) =>
      reissue(context, options, version, { channel: options.channel, rollback: true }),
  })
}

type Move = Omit<ReissuePlan, 'channel'> & { readonly channel: string | undefined }

async function reissue(
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

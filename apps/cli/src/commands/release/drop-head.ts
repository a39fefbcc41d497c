import { dropHead } from '@keyturn/publisher/offers'
import { openKnownClient } from '@keyturn/publisher/release'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { channelOf } from '../../flags/channel.ts'
import type { ChannelOption } from '../../flags/channel.ts'
import { withOffer } from './change-offer.ts'
import type { OfferOptions } from './change-offer.ts'
import { openToRelease } from '@keyturn/publisher/ship'

/** Registers `keyturn release drop-head`. */
export function registerDropHead(release: Command, cli: Cli): void {
  const drop = withOffer(
    release
      .command('drop-head')
      .description('forget a head that was signed and never published; what launchers see stays')
      .option('--channel <name>', 'the channel (default: that of the home)'),
  )
  cli.define<ChannelOption & OfferOptions>(drop, { example: 'keyturn release drop-head', run: runDropHead })
}

async function runDropHead(context: Context, options: ChannelOption & OfferOptions): Promise<CommandResult> {
  const home = await openToRelease(context, { write: true })
  const channel = channelOf(options, home.description)
  const { dropped, base } = await dropHead(home, channel, await openKnownClient(options, home))
  return {
    data: {
      channel,
      dropped_sequence: dropped.sequence,
      dropped_version: dropped.manifest.version,
      sequence: base?.sequence,
    },
    text: `Head ${dropped.sequence}, which offers ${dropped.manifest.version}, is forgotten; ${
      base === undefined
        ? `nothing is offered on ${channel}`
        : `${channel} offers ${base.manifest.version} with head ${base.sequence}`
    }`,
  }
}

import type { Command } from 'commander'
import type { Cli } from '../../command.ts'
import { withOffer } from './change-offer.ts'
import type { OfferOptions } from './change-offer.ts'
import type { ChannelOption } from '../../flags/channel.ts'
import { reissue } from './move.ts'

/** Registers `keyturn release rollback`. */
export function registerRollback(release: Command, cli: Cli): void {
  const rollback = withOffer(
    release
      .command('rollback')
      .description('offer the files of an older release again, as a new release signed by the release key')
      .argument('<version>', 'the release to go back to')
      .option('--channel <name>', 'the channel (default: that of the home)'),
  )
  cli.define<ChannelOption & OfferOptions>(rollback, {
    example: 'keyturn release rollback 2026.11.20-1 --yes',
    dryRun: true,
    run: (context, options, [version]) => reissue(context, options, { version, to: options.channel, rollback: true }),
  })
}

import type { Command } from 'commander'
import type { Cli } from '../../command.ts'
import type { ChannelOption } from '../../flags/channel.ts'
import { withOffer } from './change-offer.ts'
import type { OfferOptions } from './change-offer.ts'
import { reissue } from './move.ts'
import type { ShareOptions } from './move.ts'

interface PromoteOptions extends ChannelOption, OfferOptions, ShareOptions {
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
      .requiredOption('--to <name>', 'the channel that gets it')
      .option('--percent <n>', 'offer it there to this share of installs; 100 ends a rollout that runs there')
      .option('--resume', 'end a halt of that channel'),
  )
  cli.define<PromoteOptions>(promote, {
    example: 'keyturn release promote --channel beta --to stable',
    dryRun: true,
    run: (context, options, [version]) => reissue(context, options, { version, to: options.to, rollback: false }),
  })
}

import { discardRelease } from '@keyturn/publisher/release'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { channelOf } from '../../flags/channel.ts'
import type { ChannelOption } from '../../flags/channel.ts'
import { openToRelease } from '@keyturn/publisher/ship'

/** Registers `keyturn release discard`. */
export function registerDiscard(release: Command, cli: Cli): void {
  const discard = release
    .command('discard')
    .description('remove a draft, or a signed release that was never offered')
    .argument('<version>', 'the release')
    .option('--channel <name>', 'the channel (default: that of the home)')
  cli.define<ChannelOption>(discard, {
    example: 'keyturn release discard 1.5.0-rc1',
    run: (context, options, [version]) => runDiscard(context, options, version as string),
  })
}

async function runDiscard(context: Context, options: ChannelOption, version: string): Promise<CommandResult> {
  const home = await openToRelease(context, { write: true })
  const channel = channelOf(options, home.description)
  await discardRelease(home, channel, version)
  return { data: { channel, version }, text: `Discarded ${version}; players never had it` }
}

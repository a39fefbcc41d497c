import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { withServer } from '../../flags/server.ts'
import type { ServerOptions } from '@keyturn/publisher/release'
import { openChannelPlace } from './place.ts'

/** Registers `keyturn channel unprotect`. */
export function registerUnprotect(channel: Command, cli: Cli): void {
  const unprotect = withServer(
    channel.command('unprotect <channel>').description('let everyone read a channel without an access code'),
  )
  cli.define<ServerOptions>(unprotect, { example: 'keyturn channel unprotect beta --yes', run: runUnprotect })
}

async function runUnprotect(
  context: Context,
  options: ServerOptions,
  [name]: readonly (string | undefined)[],
): Promise<CommandResult> {
  const { client, product, channel } = await openChannelPlace(context, options, name)
  await context.ask.confirm(`Let everyone read channel "${channel}"?`)
  await client.openChannel(product, channel)
  return { data: { product, channel, protected: false }, text: `Anyone can read channel "${channel}" now` }
}

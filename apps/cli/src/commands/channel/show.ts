import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { withServer } from '../../flags/server.ts'
import type { ServerOptions } from '@keyturn/publisher/release'
import { openChannelPlace } from './place.ts'

/** Registers `keyturn channel show`. */
export function registerShow(channel: Command, cli: Cli): void {
  const show = withServer(
    channel.command('show <channel>').description('say whether a channel on the server needs an access code'),
  )
  cli.define<ServerOptions>(show, { example: 'keyturn channel show beta', run: runShow })
}

async function runShow(
  context: Context,
  options: ServerOptions,
  [name]: readonly (string | undefined)[],
): Promise<CommandResult> {
  const { client, product, channel } = await openChannelPlace(context, options, name)
  const access = await client.channelAccess(product, channel)
  return {
    data: { product, channel, protected: access.protected },
    text: access.protected
      ? `Channel "${channel}" needs an access code; the server keeps only its hash`
      : `Anyone can read channel "${channel}"`,
  }
}

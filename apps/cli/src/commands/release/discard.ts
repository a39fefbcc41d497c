import { KeyturnError } from '@keyturn/primitives'
import { discardRelease, readReleases } from '@keyturn/publisher/records'
import { openKnownClient } from '@keyturn/publisher/release'
import type { ServerOptions } from '@keyturn/publisher/release'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { channelOf } from '../../flags/channel.ts'
import type { ChannelOption } from '../../flags/channel.ts'
import { withServer } from '../../flags/server.ts'
import { openToRelease } from '@keyturn/publisher/ship'

interface DiscardOptions extends ChannelOption, ServerOptions {
  readonly local?: boolean
}

/** Registers `keyturn release discard`. */
export function registerDiscard(release: Command, cli: Cli): void {
  const discard = withServer(
    release
      .command('discard')
      .description('remove a draft, or a signed release that was never offered, here and on the server')
      .argument('<version>', 'the release')
      .option('--channel <name>', 'the channel (default: that of the home)')
      .option('--local', 'leave the server alone'),
  )
  cli.define<DiscardOptions>(discard, {
    example: 'keyturn release discard 1.5.0-rc1',
    run: (context, options, [version]) => runDiscard(context, options, version as string),
  })
}

async function runDiscard(context: Context, options: DiscardOptions, version: string): Promise<CommandResult> {
  const home = await openToRelease(context, { write: true })
  const channel = channelOf(options, home.description)
  const client = await openKnownClient(options, home)
  const isHere = (await readReleases(home.paths, channel)).some(({ manifest }) => manifest.version === version)
  const { product } = home.description
  const onServer = await client?.getRelease(product, channel, version).catch(unreachable(context))
  if (isHere || onServer === undefined) await discardRelease(home, channel, version)
  // One that stays on the server, because it was published, was refused before: this home knows its heads.
  if (onServer !== undefined) await client?.discardDraft(product, channel, version)
  return {
    data: { channel, version, here: isHere, on_server: onServer !== undefined },
    text: `Discarded ${version}${onServer === undefined ? '' : ', on the server too'}; players never had it`,
  }
}

/** A release that was never sent can be discarded without a server. */
function unreachable({ warn }: Pick<Context, 'warn'>): (error: unknown) => undefined {
  return (error) => {
    if (!(error instanceof KeyturnError) || error.kind !== 'unavailable') throw error
    warn(`The server does not answer: if it has a draft of that name, discard it again later (${error.code})`)
    return undefined
  }
}

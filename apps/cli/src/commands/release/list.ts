import { formatBytes } from '@keyturn/primitives'
import type { JsonValue } from '@keyturn/primitives'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { counted, formatTable } from '../../output.ts'
import { withServer } from '../../flags/server.ts'
import { openHome } from '@keyturn/publisher'
import {
  readKnownHeads,
  readPublishedHead,
  readReleaseChannels,
  readReleases,
  releaseState,
  stateText,
} from '@keyturn/publisher/records'
import { openClient } from '@keyturn/publisher/release'
import type { ServerOptions } from '@keyturn/publisher/release'
import { channelOf } from '../../flags/channel.ts'
import type { ChannelOption } from '../../flags/channel.ts'
import { summary } from './summary.ts'

interface ListOptions extends ChannelOption, ServerOptions {
  readonly remote?: boolean | undefined
}

/** Registers `keyturn release list`. */
export function registerList(release: Command, cli: Cli): void {
  const list = withServer(
    release
      .command('list')
      .description('list the releases of a channel, oldest first, and what its head offers')
      .option('--channel <name>', 'the channel (default: that of the home)')
      .option('--remote', 'ask the server instead of the home'),
  )
  cli.define<ListOptions>(list, {
    example: 'keyturn release list --json',
    run: (context, options) => (options.remote === true ? listRemote(context, options) : listHome(context, options)),
  })
}

async function listHome(context: Context, options: ListOptions): Promise<CommandResult> {
  const home = await openHome(context)
  const channel = channelOf(options, home.description)
  const head = (await readPublishedHead(home.paths, channel))?.head
  const releases = (await readReleases(home.paths, channel)).map((release) => {
    const place = {
      sha256: release.sha256,
      sequence: release.manifest.sequence ?? 0,
      signed: release.signatures !== undefined,
    }
    return { release, state: releaseState(place, head, context.clock()) }
  })
  const others = (await readReleaseChannels(home.paths)).filter((name) => name !== channel)
  return {
    data: {
      channel,
      offered: head?.manifest.version,
      releases: releases.map(({ release, state }) => ({ ...summary(release), state: stateText(state, head) })),
      other_channels: others,
    },
    text:
      (releases.length === 0
        ? `No release on ${channel} yet`
        : formatTable(
            releases.map(({ release: { manifest }, state }) => [
              manifest.version,
              `#${manifest.sequence ?? 0}`,
              counted(manifest.files.length, 'file'),
              formatBytes(manifest.totals?.bytes ?? 0),
              stateText(state, head),
            ]),
          )) + othersText(others),
  }
}

/** A release that is looked for may be on another channel. */
function othersText(others: readonly string[]): string {
  return others.length === 0 ? '' : `\nOther channels: ${others.join(', ')} (--channel NAME)`
}

async function listRemote(context: Context, options: ListOptions): Promise<CommandResult> {
  const home = await openHome(context)
  const { description } = home
  const channel = channelOf(options, description)
  const client = await openClient(options, home)
  const others = (await client.listChannels(description.product))
    .map(({ channel: name }) => name)
    .filter((name) => name !== channel)
  const { items } = await client.listReleases(description.product, { channel })
  const head = (await readKnownHeads(home, channel, client)).server?.head
  const releases = items
    .toSorted((a, b) => a.sequence - b.sequence)
    .map((release) => {
      const { sha256, sequence } = release
      // A server keeps a scheduled release as a draft until its time.
      const place = { sha256, sequence, signed: release.state !== 'draft' || head?.preload?.sha256 === sha256 }
      return { ...release, state: stateText(releaseState(place, head, context.clock()), head) }
    })
  return {
    data: {
      channel,
      offered: head?.manifest.version,
      releases: releases as unknown as JsonValue,
      other_channels: others,
    },
    text:
      formatTable(
        releases.map(({ version, sequence, files, bytes, state }) => [
          version,
          `#${sequence}`,
          counted(files, 'file'),
          formatBytes(bytes),
          state,
        ]),
      ) + othersText(others),
  }
}

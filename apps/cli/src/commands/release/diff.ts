import { formatBytes } from '@keyturn/primitives'
import { diffManifests } from '@keyturn/manifest'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { openHome } from '@keyturn/publisher'
import { deltaBytes, findRelease } from '@keyturn/publisher/records'
import { channelOf } from '../../flags/channel.ts'
import type { ChannelOption } from '../../flags/channel.ts'

interface DiffOptions extends ChannelOption {
  readonly failOnDiff?: boolean | undefined
}

/** Registers `keyturn release diff`. */
export function registerDiff(release: Command, cli: Cli): void {
  const diff = release
    .command('diff')
    .description('show what differs between two releases, and what a player has to download')
    .argument('<from>', 'version a player has')
    .argument('[to]', 'version a player gets (default: the newest)')
    .option('--channel <name>', 'the channel (default: that of the home)')
    .option('--fail-on-diff', 'exit 1 when they differ')
  cli.define<DiffOptions>(diff, {
    example: 'keyturn release diff 2026.11.20-1 2026.11.21-1',
    run: (context, options, [from, to]) => runDiff(context, options, from as string, to),
  })
}

async function runDiff(
  context: Context,
  options: DiffOptions,
  from: string,
  to: string | undefined,
): Promise<CommandResult> {
  const home = await openHome(context)
  const channel = channelOf(options, home.description)
  const [before, after] = [await findRelease(home.paths, channel, from), await findRelease(home.paths, channel, to)]
  const difference = diffManifests(before.manifest, after.manifest)
  const download = await deltaBytes(before, after)
  const added = difference.added.map(({ path }) => path)
  const removed = difference.removed.map(({ path }) => path)
  const changed = difference.changed.map(({ path }) => path)
  const differs = added.length + removed.length + changed.length > 0
  const lines = [
    ...added.map((path) => `+ ${path}`),
    ...changed.map((path) => `~ ${path}`),
    ...removed.map((path) => `- ${path}`),
  ]
  return {
    data: {
      from: before.manifest.version,
      to: after.manifest.version,
      added,
      removed,
      changed,
      unchanged: difference.unchangedCount,
      new_blob_bytes: difference.newBlobBytes,
      download_bytes: download,
      full_bytes: after.manifest.totals?.downloadBytes,
    },
    text: [
      ...lines,
      `${difference.unchangedCount} unchanged; download ${formatBytes(download)} of ` +
        `${formatBytes(after.manifest.totals?.downloadBytes ?? 0)}`,
    ].join('\n'),
    no: options.failOnDiff === true && differs,
  }
}

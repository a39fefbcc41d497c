import { formatBytes } from '@keyturn/primitives'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { counted } from '../../output.ts'
import { withServer } from '../../flags/server.ts'
import { headToPublish } from '@keyturn/publisher/offers'
import { findRelease } from '@keyturn/publisher/records'
import { openClient, planUpload, publishHead } from '@keyturn/publisher/release'
import type { ServerOptions } from '@keyturn/publisher/release'
import { warnOfKey } from './key-problem.ts'
import { openToRelease } from '@keyturn/publisher/ship'
import { channelOf } from '../../flags/channel.ts'
import type { ChannelOption } from '../../flags/channel.ts'

type PublishOptions = ChannelOption & ServerOptions

/** Registers `keyturn release publish`. */
export function registerPublish(release: Command, cli: Cli): void {
  const publish = withServer(
    release
      .command('publish')
      .description('upload what the server lacks: files, log, role documents, manifest, and the head last')
      .option('--channel <name>', 'the channel (default: that of the home)'),
  )
  cli.define<PublishOptions>(publish, {
    example: 'keyturn release publish --server https://updates.example.org --token-file token.txt',
    dryRun: true,
    run: runPublish,
  })
}

async function runPublish(context: Context, options: PublishOptions): Promise<CommandResult> {
  const home = await openToRelease(context, { write: !context.dryRun })
  const channel = channelOf(options, home.description)
  const head = await headToPublish(home, channel)
  const { version } = head.head.manifest
  const client = await openClient(options, home)
  if (context.dryRun) {
    const release = await findRelease(home.paths, channel, version)
    const plan = await planUpload(home, client, release)
    const blobs = plan.whole.length + plan.assembled.length
    return {
      data: { version, missing_blobs: blobs, upload_bytes: plan.bytes },
      text: `Would upload ${formatBytes(plan.bytes)} for ${counted(blobs, 'blob')} and publish ${version}`,
    }
  }
  const progress = context.out.progress('uploading')
  try {
    const report = await publishHead(home, client, head, { signal: context.signal, progress })
    const { runtimeKeys, wanted: _wanted, ...sent } = report
    warnOfKey(context, channel, report)
    return {
      data: {
        channel,
        head_sequence: head.head.sequence,
        ...sent,
        runtime_keys: runtimeKeys === undefined ? undefined : [...runtimeKeys.keyIds],
      },
      text:
        `Published ${report.version} on ${channel}: ${counted(report.blobs, 'blob')} ` +
        `(${formatBytes(report.bytes)}) uploaded, ${report.present} were there`,
    }
  } finally {
    progress.end()
  }
}

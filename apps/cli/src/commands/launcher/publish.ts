import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { formatBytes, isRecord, parseStrictJson } from '@keyturn/primitives'
import { LAUNCHER_CHANNEL } from '@keyturn/launcher-daemon/build'
import { issueHead, openClient, prepareRelease, publishRelease, signRelease } from '@keyturn/publisher/release'
import type { ServerOptions } from '@keyturn/publisher/release'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { withServer } from '../../flags/server.ts'
import { counted } from '../../output.ts'
import { openToRelease } from '@keyturn/publisher/ship'

/** Registers `keyturn launcher publish`. */
export function registerLauncherPublish(launcher: Command, cli: Cli): void {
  const publish = withServer(
    launcher
      .command('publish')
      .description('publish what "launcher build" made on channel "launcher": installed launchers update themselves')
      .argument('<folder>', 'the folder that "launcher build" wrote'),
  )
  cli.define<ServerOptions>(publish, {
    example: 'keyturn launcher publish dist',
    run: (context, options, [folder]) => runPublish(context, options, folder as string),
  })
}

async function runPublish(context: Context, options: ServerOptions, folder: string): Promise<CommandResult> {
  const version = await versionOf(folder)
  const home = await openToRelease(context, { write: true })
  const client = await openClient(options, home)
  const progress = context.out.progress('uploading')
  try {
    const prepared = await prepareRelease(home, {
      tree: join(folder, 'update'),
      channel: LAUNCHER_CHANNEL,
      version,
      format: 'legacy-json-blob',
      nowMs: context.clock(),
      signal: context.signal,
    })
    const release = await signRelease(home, prepared)
    const head = await issueHead(home, release, { nowMs: context.clock() })
    const report = await publishRelease(home, client, { release, head }, { signal: context.signal, progress })
    // A launcher has no archives, and so no key to deliver; and nobody halts its channel.
    const { runtimeKeys: _keys, wanted: _wanted, ...sent } = report
    return {
      data: {
        ...sent,
        channel: LAUNCHER_CHANNEL,
        version,
        head_sequence: head.head.sequence,
      },
      text:
        `Published launcher ${version}: ${counted(report.blobs, 'blob')} (${formatBytes(report.bytes)}) uploaded\n` +
        `Next: the head of channel "${LAUNCHER_CHANNEL}" ends at ${head.head.expiresAt}; ` +
        '"keyturn release renew --all" renews it with the others',
    }
  } finally {
    progress.end()
  }
}

/** The version that "launcher build" recorded: launchers take only what is newer than themselves. */
async function versionOf(folder: string): Promise<string> {
  const file = join(folder, 'launcher.json')
  try {
    const record = parseStrictJson(await readFile(file))
    const version = isRecord(record) ? record['version'] : undefined
    if (typeof version === 'string') return version
  } catch (cause) {
    throw new CliError('CLI_PATH_UNKNOWN', `Cannot read "${file}"`, {
      hint: 'Give the folder that "keyturn launcher build" wrote',
      cause,
    })
  }
  throw new CliError('CLI_PATH_UNKNOWN', `"${file}" names no version`)
}

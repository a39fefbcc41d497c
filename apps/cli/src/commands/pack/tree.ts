import { readdir } from 'node:fs/promises'
import { resolve } from 'node:path'
import { formatBytes } from '@keyturn/primitives'
import { isMissing } from '@keyturn/primitives/node'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { wholeNumber } from '../../flags/values.ts'
import { activeContentKey, openHome } from '@keyturn/publisher'
import type { HomeSession, SealedKey } from '@keyturn/publisher'
import { settleSchedules } from '@keyturn/publisher/offers'
import { newestRelease, writeRuntimeKeyFile } from '@keyturn/publisher/records'
import { earlierTree, packTree } from '@keyturn/publisher/release'
import { counted } from '../../output.ts'
import { requireFolder } from '../../paths.ts'
import { channelOf } from '../../flags/channel.ts'

interface TreeOptions {
  readonly input: string
  readonly output: string
  readonly channel?: string | undefined
  readonly level: string
  readonly jobs?: string | undefined
  readonly fresh?: boolean | undefined
  readonly cache: boolean
  readonly runtimeKeyFile: boolean
}

/** Registers `keyturn pack tree`: the step from a source tree to a release tree, with the keys of the home. */
export function registerPackTree(pack: Command, cli: Cli): void {
  const tree = pack
    .command('tree')
    .description(
      'pack each top folder of a source tree into an archive with the keys of the home: what "release prepare" takes',
    )
    .requiredOption('--input <dir>', 'source tree; loose files are copied')
    .requiredOption('--output <dir>', 'release tree to make; new or empty')
    .option('--channel <name>', 'channel whose newest release it follows (default: that of the home)')
    .option('--level <n>', 'zstd level, 1 to 22', '12')
    .option('--jobs <n>', 'threads (default: one a core)')
    .option('--fresh', 'take no stored bytes over from the release before')
    .option('--no-cache', 'read every file, also where size, times and inode are as when it was packed last')
    .option('--no-runtime-key-file', 'leave runtime-key.json out: the key is handed out over Noise')
  cli.define<TreeOptions>(tree, { example: 'keyturn pack tree --input client --output out/tree', run: runTree })
}

/** A scheduled release that is offered by now is one that others follow. */
async function openSettled(context: Context): Promise<HomeSession> {
  const home = await openHome(context)
  const isDue = ({ at }: SealedKey): boolean => at !== undefined && Date.parse(at) <= context.clock()
  if (home.description.sealedKeys?.some(isDue) !== true) return home
  const locked = await openHome(context, { write: true })
  await settleSchedules(context, locked)
  return locked
}

async function runTree(context: Context, options: TreeOptions): Promise<CommandResult> {
  requireFolder(options.input)
  const home = await openSettled(context)
  const output = resolve(options.output)
  if (
    (
      await readdir(output).catch((error: NodeJS.ErrnoException): string[] => {
        if (isMissing(error)) return []
        throw error
      })
    ).length > 0
  )
    throw new CliError('CLI_EXISTS', `"${output}" is not empty`)
  const earlier = options.fresh === true ? undefined : await newestRelease(home, channelOf(options, home.description))
  const { folder: previous } = await earlierTree(context, home, earlier)
  const progress = context.out.progress('packing')
  try {
    const report = await packTree(home, {
      input: resolve(options.input),
      output,
      previous,
      level: wholeNumber(options.level, '--level', 1, 22),
      ...(options.jobs === undefined ? {} : { jobs: wholeNumber(options.jobs, '--jobs', 1, 256) }),
      remember: options.cache ? context.clock : undefined,
      signal: context.signal,
      progress,
    })
    const active = activeContentKey(home.description)
    if (options.runtimeKeyFile) await writeRuntimeKeyFile(home, output, active)
    return {
      data: {
        output,
        key_id: active.keyId,
        archives: report.archives,
        files: report.files,
        original_bytes: report.originalBytes,
        archive_bytes: report.archiveBytes,
        carried_files: report.carriedFiles,
      },
      text:
        `${counted(report.archives, 'archive')} of ${counted(report.files, 'file')} in ${output}: ` +
        `${formatBytes(report.originalBytes)} became ${formatBytes(report.archiveBytes)}` +
        `${report.carriedFiles > 0 ? `, ${counted(report.carriedFiles, 'file')} as they were` : ''}`,
    }
  } finally {
    progress.end()
  }
}

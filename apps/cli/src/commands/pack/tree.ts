import { readdir, rm } from 'node:fs/promises'
import { join, resolve, sep } from 'node:path'
import type { FormatVersion } from '@keyturn/m2pack-format'
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
import type { StoredRelease } from '@keyturn/publisher/records'
import {
  checkProjectHome,
  earlierTree,
  formatVersionAfter,
  packTree,
  planProject,
  PROJECT_FILE,
} from '@keyturn/publisher/release'
import type { PackPlan } from '@keyturn/publisher/release'
import { findProjectFor, withProject } from '../../flags/project.ts'
import type { ProjectOption } from '../../flags/project.ts'
import { counted } from '../../output.ts'
import { requireFolder } from '../../paths.ts'
import { formatVersion } from './flags.ts'
import { channelOf } from '../../flags/channel.ts'

interface TreeOptions extends ProjectOption {
  readonly input?: string | undefined
  readonly output: string
  readonly channel?: string | undefined
  readonly level: string
  readonly formatVersion?: string | undefined
  readonly jobs?: string | undefined
  readonly fresh?: boolean | undefined
  readonly cache: boolean
  readonly runtimeKeyFile: boolean
}

/** Registers `keyturn pack tree`: the step from a source tree to a release tree, with the keys of the home. */
export function registerPackTree(pack: Command, cli: Cli): void {
  const tree = withProject(
    pack
      .command('tree')
      .description('pack each top folder of a source tree into an archive, for "release prepare"')
      .option('--input <dir>', 'source tree; loose files are copied (default: the source of the project)')
      .requiredOption('--output <dir>', 'release tree to make; new or empty')
      .option('--channel <name>', 'channel whose newest release it follows (default: that of the home)')
      .option('--level <n>', 'zstd level, 1 to 22', '12')
      .option(
        '--format-version <n>',
        'format of the archives, 1 or 2 (default: as the project says, else as before, else 1)',
      )
      .option('--jobs <n>', 'threads (default: one a core)')
      .option('--fresh', 'take no stored bytes over from the release before')
      .option('--no-cache', 'read every file, also where size, times and inode are as when it was packed last')
      .option('--no-runtime-key-file', 'leave runtime-key.json out: the key is handed out over Noise'),
  )
  cli.define<TreeOptions>(tree, { example: ['keyturn pack tree --input client --output out/tree'], run: runTree })
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

/** What is packed, and by which rules: those of the project whose source it is, as in `keyturn ship`. */
async function sourceOf(
  context: Context,
  options: TreeOptions,
  home: HomeSession,
): Promise<Pick<PackPlan, 'input' | 'selection' | 'layout' | 'formatVersion'>> {
  const project = await findProjectFor(options)
  const input = options.input === undefined ? project?.source : resolve(options.input)
  if (input === undefined)
    throw new CliError('CLI_USAGE', `What is to be packed? There is no ${PROJECT_FILE} here or in a folder above`, {
      hint: 'Give --input with the folder of the client, or run "keyturn project init" beside it',
    })
  requireFolder(input)
  if (project === undefined) return { input }
  if (input !== project.source) {
    context.warn(`"${project.file}" is about "${project.source}": its rules are not used for "${input}"`)
    return { input }
  }
  checkProjectHome(project, home.description)
  const made = await planProject(project)
  for (const warning of made.warnings) context.warn(warning)
  const { layout, archiveFormat: version } = project
  return { input, selection: made.selection, layout, formatVersion: version }
}

/** As a flag says, else the project, else as in the release before. */
function versionOf(
  { formatVersion: flag }: TreeOptions,
  ofProject: FormatVersion | undefined,
  before: StoredRelease | undefined,
): FormatVersion {
  return flag === undefined ? (ofProject ?? formatVersionAfter(before?.manifest)) : formatVersion(flag)
}

/** A tree inside its own source would be packed with it the next time; a source inside its tree would be written over. */
function refuseInside(input: string, output: string): void {
  const holds = (outer: string, inner: string): boolean => outer === inner || inner.startsWith(join(outer, sep))
  if (!holds(input, output) && !holds(output, input)) return
  throw new CliError('CLI_USAGE', `Cannot pack "${input}" into "${output}": one is inside the other`, {
    hint: 'Name an --output beside the client',
  })
}

async function runTree(context: Context, options: TreeOptions): Promise<CommandResult> {
  if (options.input !== undefined) requireFolder(options.input)
  const home = await openSettled(context)
  const source = await sourceOf(context, options, home)
  const output = resolve(options.output)
  refuseInside(source.input, output)
  if (
    (
      await readdir(output).catch((error: NodeJS.ErrnoException): string[] => {
        if (isMissing(error)) return []
        throw error
      })
    ).length > 0
  )
    throw new CliError('CLI_EXISTS', `"${output}" is not empty`, {
      hint: 'Name a new folder, or remove what an interrupted run left there',
    })
  const newest = await newestRelease(home, channelOf(options, home.description))
  const earlier = options.fresh === true ? undefined : newest
  const { folder: previous } = await earlierTree(context, home, earlier)
  const progress = context.out.progress('packing')
  try {
    const report = await packTree(home, {
      ...source,
      output,
      previous,
      level: wholeNumber(options.level, '--level', 1, 22),
      formatVersion: versionOf(options, source.formatVersion, newest),
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
  } catch (error) {
    // It was empty or not there: half a release tree would pass for a whole one.
    await rm(output, { recursive: true, force: true })
    throw error
  } finally {
    progress.end()
  }
}

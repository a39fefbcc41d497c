import { readFile } from 'node:fs/promises'
import { formatBytes } from '@keyturn/primitives'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { findProjectFor, withProject } from '../../flags/project.ts'
import type { ProjectOption } from '../../flags/project.ts'
import { collect, wholeNumber } from '../../flags/values.ts'
import { formatTable } from '../../output.ts'
import { openHome } from '@keyturn/publisher'
import type { HomeSession } from '@keyturn/publisher'
import type { StoredRelease } from '@keyturn/publisher/records'
import { checkProjectHome, planProject, prepareRelease, projectTerms, trustPin } from '@keyturn/publisher/release'
import type { Project, ProjectTerms } from '@keyturn/publisher/release'
import { refuseWhileRotating } from '@keyturn/publisher/pending'
import { channelOf } from '../../flags/channel.ts'
import type { ChannelOption } from '../../flags/channel.ts'
import { droppedFrom } from './tree.ts'

interface PrepareOptions extends ChannelOption, ProjectOption {
  readonly release?: string | undefined
  readonly notesFile?: string | undefined
  readonly days: string
  readonly minLauncherVersion?: string | undefined
  readonly format?: string | undefined
  readonly exclude?: readonly string[] | undefined
  readonly include?: readonly string[] | undefined
  readonly keep?: readonly string[] | undefined
  readonly program?: readonly string[] | undefined
  readonly dropOriginal?: boolean | undefined
  readonly launcher?: string | undefined
  readonly moveToIdentity?: boolean | undefined
  readonly allowTag?: boolean | undefined
}

/** Registers `keyturn release prepare`. */
export function registerPrepare(release: Command, cli: Cli): void {
  const prepare = withProject(
    release
      .command('prepare')
      .description('make the manifest of a release tree; nothing is signed or uploaded')
      .argument('<tree>', 'folder with the files as players get them')
      .option('--channel <name>', 'the channel (default: that of the home)')
      .option('--release <version>', 'YYYY.MM.DD-N (default: today with the next number)')
      .option('--allow-tag', 'allow versions like 2026.04.15-full')
      .option('--notes-file <file>', 'Markdown for players')
      .option('--days <n>', 'days until the manifest expires, at most 400', '365')
      .option('--min-launcher-version <version>', 'older launchers refuse to apply it')
      .option('--format <name>', 'm2pack or legacy-json-blob (default: m2pack when there is an archive)')
      .option('--exclude <glob>', 'leave files out; may be given several times', collect)
      .option('--include <glob>', 'take files that look like junk or secrets; may be given several times', collect)
      .option('--keep <glob>', 'files that players may change: never set back; may be given several times', collect)
      .option(
        '--program <system=path>',
        'what launchers start, as in windows=Game.exe; may be given several times',
        collect,
      )
      .option(
        '--drop-original',
        "leave out what the original's release tree leaves out: logs, symbols, .pck with an .m2p twin, docs",
      )
      .option(
        '--launcher <path>',
        'the launcher inside the tree: the original launcher wants to know it; it is not one of the files',
      )
      .option(
        '--move-to-identity',
        'installs with pinned keys that accept this release trust the identity from then on',
      ),
  )
  cli.define<PrepareOptions>(prepare, {
    example: 'keyturn release prepare ./tree --notes-file notes.md',
    run: (context, options, [tree]) => runPrepare(context, options, tree as string),
  })
}

async function runPrepare(context: Context, options: PrepareOptions, tree: string): Promise<CommandResult> {
  const home = await openHome(context, { write: true })
  await refuseWhileRotating(home.paths)
  const days = wholeNumber(options.days, '--days', 1, 400)
  const project = await findProjectFor(options)
  const terms = await termsOf(context, home, project)
  const progress = context.out.progress('hashing')
  const dropped: string[] = []
  const drops = droppedFrom(options.exclude ?? [], options.dropOriginal === true)
  try {
    const release = await prepareRelease(home, {
      tree,
      days,
      channel: channelOf(options, home.description),
      version: options.release,
      ...terms,
      notes: await notesOf(options, project),
      minLauncherVersion: options.minLauncherVersion,
      format: options.format,
      allowTag: options.allowTag === true,
      launcher: options.launcher,
      trustRoot: options.moveToIdentity === true ? await trustPin(home) : undefined,
      nowMs: context.clock(),
      signal: context.signal,
      warn: context.warn,
      progress,
      keep: options.keep ?? terms?.keep,
      program: programsOf(options.program) ?? terms?.program,
      selection: { exclude: terms?.selection.exclude, include: options.include ?? terms?.selection.include },
      keeps: (path, all) => {
        if (!drops(path, all)) return true
        dropped.push(path)
        return false
      },
    })
    return prepared(release, dropped)
  } finally {
    progress.end()
  }
}

function prepared(release: StoredRelease, dropped: readonly string[]): CommandResult {
  const { version, sequence, totals, format } = release.manifest
  return {
    data: {
      version,
      sequence,
      format,
      folder: release.folder,
      manifest_sha256: release.sha256,
      manifest_bytes: release.bytes.length,
      files: totals?.files,
      bytes: totals?.bytes,
      download_bytes: totals?.downloadBytes,
      dropped: [...dropped],
    },
    text: formatTable([
      ['release', `${version}, sequence ${sequence}, ${format}`],
      [
        'files',
        `${totals?.files ?? 0}, ` +
          `${formatBytes(totals?.bytes ?? 0)}${dropped.length === 0 ? '' : `, ${dropped.length} left out`}`,
      ],
      ['manifest', `${release.folder} (SHA-256 ${release.sha256})`],
    ]),
  }
}

/** What the manifest takes from the project, as in `keyturn ship`. */
async function termsOf(
  context: Context,
  { description }: HomeSession,
  project: Project | undefined,
): Promise<ProjectTerms | undefined> {
  if (project === undefined) return undefined
  checkProjectHome(project, description)
  const made = await planProject(project)
  for (const warning of made.warnings) context.warn(warning)
  return projectTerms(project, made)
}

async function notesOf({ notesFile }: PrepareOptions, project: Project | undefined): Promise<string | undefined> {
  const file = notesFile ?? project?.notes
  return file === undefined ? undefined : await readNotes(file)
}

async function readNotes(file: string): Promise<string> {
  const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: false })
  try {
    return text.decode(await readFile(file))
  } catch (cause) {
    if (cause instanceof TypeError) throw new CliError('CLI_USAGE', `"${file}" is not UTF-8 text`, { cause })
    throw cause
  }
}

/** `windows=Game.exe` as the manifest has it. */
function programsOf(given: readonly string[] | undefined): Record<string, string> | undefined {
  if (given === undefined) return undefined
  return Object.fromEntries(
    given.map((entry) => {
      const match = /^(windows|linux|macos)=(.+)$/.exec(entry)
      if (match === null)
        throw new CliError('CLI_USAGE', `--program expects system=path, got "${entry}"`, {
          hint: 'For example --program windows=Game.exe',
        })
      return [match[1], match[2]] as [string, string]
    }),
  )
}

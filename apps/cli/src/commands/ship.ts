import { readFile, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { checkVersionName, diffManifests, matchesGlob } from '@keyturn/manifest'
import { KelError } from '@keyturn/kel'
import { git } from '@keyturn/kel/node'
import { formatBytes, hexEncode, printable, systemRandom } from '@keyturn/primitives'
import { PublisherError } from '@keyturn/publisher'
import type { HomeSession } from '@keyturn/publisher'
import {
  discardRelease,
  findProject,
  isExcluded,
  listTree,
  offerRelease,
  openClient,
  packTree,
  pinOf,
  prepareRelease,
  PROJECT_FILE,
  putOffer,
  readKnownHeads,
  readProject,
  readReleases,
  signRelease,
  writeRuntimeKeyFile,
} from '@keyturn/publisher/release'
import type { Project, ServerOptions, StoredRelease } from '@keyturn/publisher/release'
import { activeContentKey } from '@keyturn/publisher'
import { nextVersion } from '@keyturn/manifest'
import type { Head } from '@keyturn/manifest'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../command.ts'
import { CliError } from '../errors.ts'
import { channelOf } from '../flags/channel.ts'
import type { ChannelOption } from '../flags/channel.ts'
import { checkProjectServer } from '../flags/project-server.ts'
import { withServer } from '../flags/server.ts'
import { wholeNumber } from '../flags/values.ts'
import { counted, formatTable } from '../output.ts'
import { treeOf } from './pack/tree.ts'
import { deltaBytes } from './release/delta.ts'
import { openToRelease } from './release/open.ts'

interface ShipOptions extends ChannelOption, ServerOptions {
  readonly project?: string
  readonly percent?: string
  readonly resume?: boolean
  readonly notesFile?: string
  readonly versionName?: string
  readonly level: string
}

/** Registers `keyturn ship`. */
export function registerShip(program: Command, cli: Cli): void {
  const ship = withServer(
    program
      .command('ship')
      .description('pack, prepare, sign, offer and publish the client of this project, after one question')
      .option('--project <file>', `the project file (default: ${PROJECT_FILE} here or in a folder above)`)
      .option('--channel <name>', 'the channel (default: that of the home)')
      .option('--percent <n>', 'offer it to this share of installs only; 100 ends a rollout')
      .option('--resume', 'end a halt of the channel')
      .option('--notes-file <file>', 'Markdown for players (default: that of the project)')
      .option('--version-name <text>', 'name of the release (default: today with the next number)')
      .option('--level <n>', 'zstd level, 1 to 22', '12'),
  )
  cli.define<ShipOptions>(ship, {
    example: ['keyturn ship', 'keyturn ship --channel beta --version-name 1.4.2'],
    dryRun: true,
    run: runShip,
  })
}

interface Shipment {
  readonly home: HomeSession
  readonly channel: string
  readonly project: Project
  readonly before: StoredRelease | undefined
  readonly version: string
}

async function projectOf(options: ShipOptions): Promise<Project> {
  if (options.project !== undefined) return await readProject(resolve(options.project))
  const found = await findProject(process.cwd())
  if (found !== undefined) return found
  throw new PublisherError('PRJ_NOT_FOUND', `No ${PROJECT_FILE} here or in a folder above`, {
    hint: 'Run "keyturn project init" beside the client, or name one with --project',
  })
}

async function versionOf(
  context: Context,
  options: ShipOptions,
  project: Project,
  before?: StoredRelease,
): Promise<string> {
  if (options.versionName !== undefined) return options.versionName
  if (project.version !== 'git') return nextVersion(context.clock(), before?.manifest.version)
  return await describeCommit(project.folder)
}

/**
 * What `git describe --dirty` says. A comparison with the work tree runs the filters that the repository's own settings
 * name, which are programs of the folder's author: such a repository is refused, and submodules are not entered.
 */
async function describeCommit(folder: string): Promise<string> {
  const described = (await git(folder, ['describe', '--tags', '--always'])).toString('utf8').trim()
  const filters = await gitOrOne(folder, ['config', '--show-scope', '--name-only', '--get-regexp', FILTER_PROGRAM])
  if (/^(local|worktree)\t/m.test(filters ?? ''))
    throw new CliError('CLI_USAGE', `The settings of the git repository at "${folder}" name filter programs`, {
      hint: 'Give --version-name, or move the filters to your own settings (git config --global)',
    })
  const compare = ['diff', '--quiet', '--no-ext-diff', '--no-textconv', '--ignore-submodules=dirty', 'HEAD', '--']
  return (await gitOrOne(folder, compare)) === undefined ? `${described}-dirty` : described
}

const FILTER_PROGRAM = '^filter\\..*\\.(clean|process)$'

/** What git prints; `undefined` when it ends with 1, its "no". */
async function gitOrOne(folder: string, args: readonly string[]): Promise<string | undefined> {
  try {
    return (await git(folder, args)).toString('utf8')
  } catch (error) {
    if (error instanceof KelError && error.details?.['code'] === 1) return undefined
    throw error
  }
}

async function runShip(context: Context, options: ShipOptions): Promise<CommandResult> {
  const project = await projectOf(options)
  const home = await openToRelease(context, { write: true })
  if (project.product !== undefined && project.product !== home.description.product)
    throw new CliError(
      'CLI_USAGE',
      `The project is "${project.product}", this home is of "${home.description.product}"`,
    )
  const channel = channelOf(options, home.description)
  checkProjectServer(options.server, project, home)
  const client = await openClient(options, home)
  const { base } = await readKnownHeads(home, channel, client)
  const newest = (await readReleases(home.paths, channel)).at(-1)
  const version = await versionOf(context, options, project, newest)
  checkVersionName(version) // before it becomes part of a path that is emptied
  const percent = options.percent === undefined ? undefined : wholeNumber(options.percent, '--percent', 0, 100)
  await makeRoom(context, home, channel, version)
  const before = (await readReleases(home.paths, channel)).at(-1)
  const shipment: Shipment = { home, channel, project, before, version }
  const draft = await makeDraft(context, options, shipment)
  try {
    const offer = offerRelease(base?.head, pinOf(draft), {
      percent,
      resume: options.resume,
      salt: hexEncode(systemRandom(16)),
    })
    const facts = await factsOf(shipment, draft)
    await warnOfVainKeeps(context, project, draft)
    if (context.dryRun) {
      await discardRelease(home, channel, version)
      return { data: { channel, ...facts.data }, text: `Would ship ${version}\n${facts.text}` }
    }
    context.onStep('ship-summary', facts.text)
    await context.ask.confirm(`Ship ${version} on channel "${channel}" to ${audience(base?.head, percent)}?`)
    const release = await signRelease(home, draft)
    const progress = context.out.progress('uploading')
    try {
      const { head, report } = await putOffer(home, channel, {
        offer: { ...offer, manifest: pinOf(release) },
        base: base?.head,
        client,
        nowMs: context.clock(),
        signal: context.signal,
        progress,
      })
      return {
        data: { channel, ...facts.data, head_sequence: head.head.sequence, uploaded_bytes: report?.bytes },
        text: `${facts.text}\nShipped ${version} on ${channel}: ${formatBytes(report?.bytes ?? 0)} uploaded`,
      }
    } finally {
      progress.end()
    }
  } catch (error) {
    await discardRelease(home, channel, version).catch(() => undefined) // it was offered, or is needed: then it stays
    throw error
  }
}

/**
 * A repeated call starts over: what an interrupted one left was never offered. A release that players may have keeps its
 * name and its files, and a dry run replaces nothing.
 *
 * @throws PublisherError `REL_OFFERED`; {@link CliError} `CLI_EXISTS` in a dry run.
 */
async function makeRoom(context: Context, home: HomeSession, channel: string, version: string): Promise<void> {
  const releases = await readReleases(home.paths, channel)
  if (!releases.some(({ manifest }) => manifest.version === version)) return
  if (context.dryRun)
    throw new CliError('CLI_EXISTS', `Release ${version} is already on channel "${channel}"`, {
      hint: 'Give another --version-name; a dry run replaces nothing',
    })
  await discardRelease(home, channel, version)
}

function audience(base: Head | undefined, percent: number | undefined): string {
  const share = percent ?? (base?.rollout?.paused === true ? undefined : base?.rollout?.percent)
  return share === undefined || share === 100 ? 'all players' : `${share} % of players`
}

async function makeDraft(context: Context, options: ShipOptions, shipment: Shipment): Promise<StoredRelease> {
  const { home, channel, project, before, version } = shipment
  const tree = join(home.paths.trees, channel, version)
  await rm(tree, { recursive: true, force: true })
  const selection = { exclude: project.exclude, include: project.include }
  const notesFile = options.notesFile ?? project.notes
  const previous = await treeOf(context, before)
  const packing = context.out.progress('packing')
  try {
    await packTree(home, {
      input: project.source,
      output: tree,
      previous,
      level: wholeNumber(options.level, '--level', 1, 22),
      selection: { ...selection, exclude: [...selection.exclude, PROJECT_FILE] },
      signal: context.signal,
      progress: packing,
    })
    await writeRuntimeKeyFile(home, tree, activeContentKey(home.description))
  } finally {
    packing.end()
  }
  const hashing = context.out.progress('hashing')
  try {
    return await prepareRelease(home, {
      tree,
      channel,
      version,
      selection,
      notes: notesFile === undefined ? undefined : await readFile(notesFile, 'utf8'),
      keep: project.keep,
      program: project.program,
      nowMs: context.clock(),
      signal: context.signal,
      progress: hashing,
    })
  } catch (error) {
    await rm(tree, { recursive: true, force: true })
    throw error
  } finally {
    hashing.end()
  }
}

/** A file inside an archive cannot be kept: players have only the archive. Someone who asked for it should know. */
async function warnOfVainKeeps(context: Context, project: Project, { manifest }: StoredRelease): Promise<void> {
  const delivered = new Set(manifest.files.map(({ path }) => path))
  const packed = (await listTree(project.source)).filter(
    ({ path }) => path.includes('/') && !delivered.has(path) && !isExcluded(path, project),
  )
  for (const glob of project.keep) {
    const inside = packed.find(({ path }) => matchesGlob(glob, path))
    if (inside === undefined) continue
    const folder = inside.path.split('/')[0] ?? ''
    context.warn(
      `"keep" has no effect on "${printable(inside.path, 120)}": folder "${printable(folder, 120)}" becomes an archive; ` +
        'put files that players edit at the top of the source',
    )
  }
}

interface Facts {
  readonly data: Readonly<Record<string, string | number | undefined>>
  readonly text: string
}

/** What changes, and what a player has to download for it. */
async function factsOf({ before, version, home }: Shipment, draft: StoredRelease): Promise<Facts> {
  const full = draft.manifest.totals?.downloadBytes ?? 0
  const difference = before === undefined ? undefined : diffManifests(before.manifest, draft.manifest)
  const download = before === undefined ? full : await deltaBytes(before, draft)
  const { keyId } = activeContentKey(home.description)
  return {
    data: {
      version,
      previous: before?.manifest.version,
      format: draft.manifest.format,
      key_id: keyId,
      added: difference?.added.length ?? draft.manifest.files.length,
      changed: difference?.changed.length ?? 0,
      removed: difference?.removed.length ?? 0,
      download_bytes: download,
      full_bytes: full,
    },
    text: formatTable([
      ['release', `${version}, ${draft.manifest.format}, content key ${keyId}`],
      [
        'files',
        difference === undefined
          ? counted(draft.manifest.files.length, 'file')
          : `${difference.added.length} added, ${difference.changed.length} changed, ${difference.removed.length} removed`,
      ],
      [
        'players download',
        before === undefined
          ? formatBytes(full)
          : `${formatBytes(download)} coming from ${before.manifest.version}, ${formatBytes(full)} for a first install`,
      ],
    ]),
  }
}

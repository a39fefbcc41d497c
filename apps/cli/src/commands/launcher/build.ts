import { join, relative } from 'node:path'
import { formatBytes } from '@keyturn/primitives'
import { formatPin } from '@keyturn/kel'
import { buildLauncher, LauncherBuildError, planLauncher } from '@keyturn/launcher-daemon/build'
import type {
  BuiltLauncher,
  LauncherFile,
  LauncherOptions,
  LauncherPlan,
  Platform,
} from '@keyturn/launcher-daemon/build'
import { parseTrustRoot } from '@keyturn/manifest'
import { openHome } from '@keyturn/publisher'
import type { HomeSession } from '@keyturn/publisher'
import { readIdentityLog } from '@keyturn/publisher/records'
import { checkProjectServer, findProject, readProject } from '@keyturn/publisher/release'
import type { Project } from '@keyturn/publisher/release'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { collect } from '../../flags/values.ts'
import { formatTable } from '../../output.ts'

interface BuildOptions {
  readonly name?: string | undefined
  readonly id?: string | undefined
  readonly publisher?: string | undefined
  readonly release: string
  readonly icon?: string | undefined
  readonly logo?: string | undefined
  readonly background?: string | undefined
  readonly accent?: string | undefined
  readonly languages?: string | undefined
  readonly telemetry?: boolean | undefined
  readonly server?: string | undefined
  readonly trust?: string | undefined
  readonly channel?: string | undefined
  readonly platform: string
  readonly out: string
  readonly sign?: string | undefined
  readonly installer: boolean
  readonly runtime?: readonly string[] | undefined
  readonly project?: string | undefined
}

const PLATFORMS: readonly Platform[] = ['win-x64', 'linux-x64', 'linux-arm64']

/** Registers `keyturn launcher build`. */
export function registerLauncherBuild(launcher: Command, cli: Cli): void {
  const build = launcher
    .command('build')
    .description('make the launcher for players: your name, icon, server and pin inside, no Node needed')
    .option('--project <file>', 'the project file (default: keyturn.json here or in a folder above, if there is one)')
    .option('--name <text>', 'name that players see (default: that of the project, else the product)')
    .option('--id <id>', 'name for folders: lower-case letters, digits, hyphens (default: the product)')
    .option('--publisher <text>', 'studio that players see (default: the name)')
    .option('--release <version>', 'version of this launcher, three numbers', '1.0.0')
    .option('--icon <file>', '.ico file; required for Windows')
    .option('--logo <file>', 'PNG, JPEG or WebP at the top of the page')
    .option('--background <file>', 'PNG, JPEG or WebP behind the page')
    .option('--accent <color>', 'color of buttons, #rrggbb')
    .option('--languages <list>', 'languages of the page, the preferred one first (default: all)')
    .option('--telemetry', 'launchers report counts of updates, without any id, unless the player says no')
    .option('--server <url>', 'release server that players reach (default: that of the home)')
    .option('--trust <pin>', 'pin inside the launcher (default: the identity of the home)')
    .option('--channel <name>', 'channel that players start on (default: that of the home)')
    .option('--platform <list>', PLATFORMS.join(', '), 'win-x64,linux-x64')
    .option('--out <folder>', 'folder for the results', 'dist')
    .option('--sign <command>', 'command that signs a Windows file; {in} and {out} stand for the files')
    .option('--no-installer', 'make the executables only, no setup and no Linux package')
    .option('--runtime <platform=file>', 'Node executable from this disk instead of npm; repeatable', collect)
  cli.define<BuildOptions>(build, {
    example: [
      'keyturn launcher build --name "My Game" --icon art/game.ico --server https://updates.example.org',
      'keyturn launcher build --platform linux-x64 --out dist',
      'keyturn launcher build --dry-run',
    ],
    dryRun: true,
    run: runBuild,
  })
}

async function runBuild(context: Context, options: BuildOptions): Promise<CommandResult> {
  const home = await openHome(context)
  const { product, channel, server } = home.description
  const project = await projectOf(options)
  if (project !== undefined) checkProjectServer(options.server, project, home.description)
  const own = project?.launcher
  const name = options.name ?? project?.name ?? product
  const wanted: LauncherOptions = {
    config: {
      name,
      id: options.id ?? product,
      publisher: options.publisher ?? own?.publisher ?? name,
      version: options.release,
      server: options.server ?? server ?? '',
      trust: await pinFor(home, options.trust),
      channel: options.channel ?? channel,
      product,
      accent: options.accent ?? own?.accent,
      languages: options.languages?.split(',').map((language) => language.trim()) ?? own?.languages ?? [],
      telemetry: options.telemetry ?? own?.telemetry ?? false,
    },
    platforms: platformsOf(options.platform),
    outputFolder: options.out,
    runtimes: { cacheFolder: join(home.paths.folder, 'cache'), files: runtimeFiles(options.runtime) },
    iconFile: options.icon ?? own?.icon,
    logoFile: options.logo ?? own?.logo,
    backgroundFile: options.background ?? own?.background,
    sign: options.sign,
    installer: options.installer,
    signal: context.signal,
    onStep: (text) => context.onStep('launcher-build', text),
  }
  warnOfThisMachine(context, wanted.config)
  if (context.dryRun) return planned(await planLauncher(wanted))
  const built = await buildLauncher(wanted)
  for (const warning of built.warnings) context.warn(warning)
  return { data: dataOf(built), text: textOf(built, options.out) }
}

/** What is right for a first try is wrong for players: the address is inside the executable for good. */
function warnOfThisMachine(context: Context, { server }: LauncherOptions['config']): void {
  const host = URL.canParse(server) ? new URL(server).hostname : ''
  if (host === 'localhost' || host === '[::1]' || host.startsWith('127.'))
    context.warn(`Players cannot reach ${server}, which is this machine: give --server with the address that they use`)
}

/** A launcher needs no project; one that is there fills in what no flag says. */
async function projectOf({ project }: BuildOptions): Promise<Project | undefined> {
  return project === undefined ? await findProject(process.cwd()) : await readProject(project)
}

/** The newest place of the home's identity, or the pin given by hand, which has to name the same identity. */
async function pinFor(home: HomeSession, given: string | undefined): Promise<string> {
  const { prefix } = home.description.identity
  if (given !== undefined) {
    const root = parseTrustRoot(given)
    if (root.kind === 'kel' && root.prefix === prefix) return given
    throw new LauncherBuildError('LB_PIN', `The pin names another identity than this home, ${prefix}`, {
      hint: 'Leave --trust out',
    })
  }
  const { log } = await readIdentityLog(home.paths, prefix)
  return formatPin({ prefix, place: log.state.lastEstablishment })
}

function platformsOf(list: string): Platform[] {
  const names = list.split(',').map((name) => name.trim())
  const unknown = names.find((name) => !(PLATFORMS as readonly string[]).includes(name))
  if (unknown !== undefined)
    throw new CliError('CLI_USAGE', `Unknown platform "${unknown}"`, { hint: `Known: ${PLATFORMS.join(', ')}` })
  return [...new Set(names)] as Platform[]
}

function runtimeFiles(given: readonly string[] = []): Partial<Record<Platform, string>> {
  const entries = given.map((entry) => {
    const at = entry.indexOf('=')
    if (at < 1) throw new CliError('CLI_USAGE', `--runtime expects platform=file, got "${entry}"`)
    return [platformsOf(entry.slice(0, at))[0], entry.slice(at + 1)]
  })
  return Object.fromEntries(entries) as Partial<Record<Platform, string>>
}

function dataOf({ files, record, updateTree, warnings }: BuiltLauncher): CommandResult['data'] {
  return {
    files: files.map(({ platform, kind, path, bytes, sha256, signed }) => ({
      platform,
      kind,
      path,
      bytes,
      sha256,
      signed,
    })),
    record,
    update_tree: updateTree,
    warnings: [...warnings],
  }
}

function planned({ files, missing }: LauncherPlan): CommandResult {
  const stops = missing.some((part) => part.stops)
  const sizes = files.map(({ kind, path, maxBytes }) => [
    kind,
    relative('.', path),
    maxBytes === undefined ? 'size known once it is made' : `at most ${formatBytes(maxBytes)}`,
  ])
  const lacking = missing.flatMap(({ message, fix, stops: isNeeded }) => [
    [isNeeded ? 'MISSING' : 'missing', message],
    ['', `fix: ${fix}`],
  ])
  return {
    data: {
      dry_run: true,
      can_build: !stops,
      files: files.map(({ platform, kind, path, maxBytes }) =>
        maxBytes === undefined ? { platform, kind, path } : { platform, kind, path, max_bytes: maxBytes },
      ),
      missing: missing.map((part) => ({ ...part })),
    },
    text: [
      stops ? 'Cannot build yet. Once nothing is missing, it makes' : 'Would make',
      formatTable(sizes),
      ...(lacking.length === 0 ? [] : ['', formatTable(lacking)]),
    ].join('\n'),
  }
}

function textOf({ files }: BuiltLauncher, out: string): string {
  const rows = files.map(({ kind, path, bytes }: LauncherFile) => [kind, relative('.', path), formatBytes(bytes)])
  const forPlayers = [...new Set(files.map(({ kind }) => kind))].filter((kind) => kind !== 'executable')
  const download = forPlayers.join(' and the ') || 'executable'
  const next =
    `Next: put the ${download} on your website, then run "keyturn launcher publish ${out}"` +
    ' so that installed launchers update themselves'
  return `${formatTable(rows)}\n\n${next}`
}

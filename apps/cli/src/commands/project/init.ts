import { join, relative, resolve } from 'node:path'
import { readHome } from '@keyturn/publisher'
import { isExcluded, listTree, PROJECT_FILE, refuseSecrets } from '@keyturn/publisher/release'
import type { JsonObject } from '@keyturn/primitives'
import { formatBytes, printable } from '@keyturn/primitives'
import { writeFileAtomic } from '@keyturn/primitives/node'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { counted } from '../../output.ts'
import { wholeNumber } from '../../flags/values.ts'
import { requireFolder } from '../../paths.ts'

interface InitOptions {
  readonly name?: string | undefined
  readonly source: string
  readonly archiveFormat?: string | undefined
}

/** Registers `keyturn project init`. */
export function registerProjectInit(project: Command, cli: Cli): void {
  const init = project
    .command('init')
    .description('write a first keyturn.json from a look at the client; an existing one is never replaced')
    .option('--source <folder>', 'the client as you build it, inside this folder', '.')
    .option('--name <text>', 'name that players see')
    .option(
      '--archive-format <n>',
      '1, or 2: one changed byte in a large packed file costs about 1 MB and not the file; clients need a reader of ' +
        'version 2',
    )
  cli.define<InitOptions>(init, { example: 'keyturn project init --source client', run: runInit })
}

/** The programs that players could start: one on Windows at the top, one on Linux that may be executed. */
function programsIn(files: readonly { readonly path: string; readonly executable: boolean }[]): Record<string, string> {
  const top = files.filter(({ path }) => !path.includes('/'))
  const windows = top.filter(({ path }) => /\.exe$/i.test(path) && !/^(setup|unins|crash|vc_?redist)/i.test(path))
  const linux = top.filter(({ path, executable }) => executable && !/\.(exe|dll|so(\.\d+)*)$/i.test(path))
  return {
    ...(windows.length === 1 ? { windows: windows[0]?.path as string } : {}),
    ...(linux.length === 1 ? { linux: linux[0]?.path as string } : {}),
  }
}

/** Names at the top that look like settings: a repair would set back what a player changed in them. */
const SETTINGS = /\.(cfg|ini|conf|properties)$|^(settings|options|config|user)\.[a-z0-9]+$/i
const MAX_SUGGESTIONS = 10

function settingsIn(files: readonly { readonly path: string }[]): string[] {
  const top = files.filter(({ path }) => !path.includes('/') && SETTINGS.test(path))
  return top.slice(0, MAX_SUGGESTIONS).map(({ path }) => printable(path, 80))
}

/** Below this a file is at most a few segments of format version 2, and the version makes no difference. */
const LARGE_BYTES = 4_000_000

/** What the choice of the format costs, where it matters. */
function formatAdvice(files: readonly { readonly size: number }[]): string[] {
  const largest = files.reduce((most, { size }) => Math.max(most, size), 0)
  if (largest < LARGE_BYTES) return []
  return [
    `The largest file has ${formatBytes(largest)}. Packed in archives of format version 1, one changed byte in it ` +
      'costs',
    'players and you the whole file; "archiveFormat": 2 makes that about 1 MB. It needs a client that reads version 2,',
    'and a later change of the format makes players download the archives once more',
  ]
}

/** A client that knows no archives would not find its files: nothing later says so before a player does. */
function archiveAdvice(files: readonly { readonly path: string }[]): string[] {
  const tops = [...new Set(files.flatMap(({ path }) => (path.includes('/') ? [path.split('/')[0] ?? ''] : [])))]
  if (tops.length === 0) return []
  const shown = tops.slice(0, MAX_SUGGESTIONS).map((top) => printable(top, 80))
  return [
    `Each top folder becomes an encrypted archive, pack/<folder>.m2p: ${shown.join(', ')}${tops.length > shown.length ? ', …' : ''}`,
    'Your program has to open them with a reader (C, C#, JavaScript). If it reads plain files, add "plain": ["**"]',
  ]
}

async function runInit(context: Context, options: InitOptions): Promise<CommandResult> {
  requireFolder(options.source)
  const { archiveFormat } = options
  const format = archiveFormat === undefined ? undefined : wholeNumber(archiveFormat, '--archive-format', 1, 2)
  const folder = process.cwd()
  const source = relative(folder, resolve(options.source))
  const files = (await listTree(resolve(options.source))).filter(({ path }) => !isExcluded(path))
  let suspicious: string | undefined
  try {
    refuseSecrets(files.map(({ path }) => path))
  } catch (error) {
    suspicious = (error as Error).message
  }
  const home = await readHome(context.homeFolder).catch(() => undefined)
  const program = programsIn(files)
  const project: JsonObject = {
    schema: 1,
    ...(home === undefined ? {} : { product: home.product }),
    ...(options.name === undefined ? {} : { name: options.name }),
    ...(home?.server === undefined ? {} : { server: home.server }),
    source: source === '' ? '.' : source,
    ...(Object.keys(program).length === 0 ? {} : { program }),
    ...(format === undefined ? {} : { archiveFormat: format }),
    keep: [],
    exclude: [],
  }
  const file = join(folder, PROJECT_FILE)
  await writeFileAtomic(file, new TextEncoder().encode(`${JSON.stringify(project, null, 2)}\n`), { overwrite: false })
  const bytes = files.reduce((sum, { size }) => sum + size, 0)
  if (suspicious !== undefined)
    context.warn(
      `${suspicious}; "keyturn ship" refuses them until "exclude" or "include" of ${PROJECT_FILE} names them`,
    )
  const settings = settingsIn(files)
  const noProgram = program['windows'] === undefined && program['linux'] === undefined
  const lines = [
    `${file}: ${counted(files.length, 'file')}, ${formatBytes(bytes)}`,
    ...(noProgram ? ['Say under "program" what launchers start'] : []),
    ...(settings.length === 0
      ? []
      : [`Add files that players edit to "keep". These look like settings: ${quoted(settings)}`]),
    ...archiveAdvice(files),
    ...(format === undefined ? formatAdvice(files) : []),
    'Next: "keyturn ship"',
  ]
  return { data: { file, project, keep_suggestions: settings }, text: lines.join('\n') }
}

function quoted(paths: readonly string[]): string {
  return paths.map((path) => `"${path}"`).join(', ')
}

import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, isAbsolute, join } from 'node:path'
import type { ManifestFile } from '@keyturn/manifest'
import type { ChildCommand } from '@keyturn/runtime-key/node'
import { LauncherError } from '../errors.ts'
import { placeInside } from '../disk/disk.ts'
import type { Layout } from '../disk/layout.ts'

/** The client of the original. */
const SEED_PROGRAM = 'Metin2.exe'

/** What decides how a program is started. */
export interface ProgramContext {
  readonly layout: Layout
  /** Files of the installed release. */
  readonly files: readonly ManifestFile[]
  /** From settings or options of this machine. */
  readonly program: readonly string[] | undefined
  /** What the signed manifest names for this system. */
  readonly released?: string | undefined
  readonly env: Readonly<Record<string, string | undefined>>
  readonly platform: NodeJS.Platform
  /** Whether this process is a launcher with Node inside, which runs no other script; default: found out. */
  readonly isSingleExecutable?: boolean | undefined
}

function listedProgram(context: ProgramContext): string | undefined {
  if (context.released !== undefined) return context.released
  const listed = new Set(context.files.map((file) => file.path))
  if (listed.has(SEED_PROGRAM)) return SEED_PROGRAM
  const programs = context.files.filter((file) => file.executable)
  return programs.length === 1 ? programs[0]?.path : undefined
}

/** Wine's folder: the user's own choice, else the one the original's set-up makes. */
function wineEnvironment(env: ProgramContext['env']): Record<string, string | undefined> {
  if (env['WINEPREFIX'] !== undefined) return { ...env }
  const prefix = join(env['HOME'] ?? homedir(), 'metin', 'wine-metin')
  return existsSync(prefix) ? { ...env, WINEPREFIX: prefix } : { ...env }
}

/**
 * What a client inherits: nothing that is meant for Keyturn's own programs, whose variables point at passphrases and
 * tokens.
 */
function clientEnvironment(env: ProgramContext['env']): Record<string, string | undefined> {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.toUpperCase().startsWith('KEYTURN_')))
}

/**
 * The Node that runs a script: the one of this process, or inside a studio's launcher that of the machine.
 *
 * @throws LauncherError `LA_PROGRAM`.
 */
function nodeFor({ env, platform, isSingleExecutable }: ProgramContext, program: string): string {
  // Other runtimes do not have this module.
  if (isSingleExecutable !== true && process.getBuiltinModule('node:sea')?.isSea() !== true) return process.execPath
  const name = platform === 'win32' ? 'node.exe' : 'node'
  const folders = (env['PATH'] ?? '').split(delimiter).filter((folder) => isAbsolute(folder))
  const found = folders.map((folder) => join(folder, name)).find((path) => existsSync(path))
  if (found !== undefined) return found
  throw new LauncherError('LA_PROGRAM', `Cannot start ${JSON.stringify(program)}: it is a script, and needs Node`, {
    hint: 'Install Node on this machine, or ask the publisher for a program that needs none',
  })
}

/**
 * The command that starts the client. A path relative to the install must be a file of the verified release; an
 * absolute one comes from the user. A Windows program is started through wine elsewhere, a script by Node.
 *
 * @throws LauncherError `LA_PROGRAM`.
 */
export function commandFor(context: ProgramContext): ChildCommand {
  const [program = listedProgram(context), ...args] = context.program ?? []
  if (program === undefined) {
    throw new LauncherError('LA_PROGRAM', 'Cannot start: no program is chosen and the release has not exactly one', {
      hint: 'Give --program',
    })
  }
  const name = program.replaceAll('\\', '/')
  const isForeign = isAbsolute(program)
  if (!isForeign && !context.files.some((file) => file.path === name)) {
    throw new LauncherError(
      'LA_PROGRAM',
      `Cannot start ${JSON.stringify(program)}: it is not a file of the installed release`,
    )
  }
  const file = isForeign ? program : placeInside(context.layout.root, name)
  const env = clientEnvironment(context.env)
  const common = { cwd: context.layout.root }
  if (/\.exe$/i.test(file) && context.platform !== 'win32') {
    return { ...common, file: context.env['KEYTURN_WINE'] ?? 'wine', args: [file, ...args], env: wineEnvironment(env) }
  }
  if (/\.[cm]?js$/.test(file)) return { ...common, file: nodeFor(context, program), args: [file, ...args], env }
  return { ...common, file, args, env }
}

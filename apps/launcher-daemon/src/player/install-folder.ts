import { access, constants, lstat, mkdir, readdir, realpath, stat, statfs } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, isAbsolute, join, parse, resolve } from 'node:path'
import { LauncherError, updatesFolder } from '@keyturn/install-engine'
import { pathExists, systemErrorCode } from '@keyturn/primitives/node'
import type { ChooseOptions, FolderLook } from '../daemon/snapshot.ts'

/** Folders of the system; a game neither goes into them nor takes their place. */
const SYSTEM_FOLDERS: readonly RegExp[] = [
  /^\/(bin|boot|dev|etc|lib|lib64|proc|root|run|sbin|sys|usr|var)(\/|$)/,
  /^[A-Za-z]:\\(Windows|ProgramData)(\\|$)/i,
]

function refuse(folder: string, why: string): never {
  throw new LauncherError('LA_FOLDER', `Cannot install into "${folder}": ${why}`, {
    hint: 'Choose an empty folder, a new one, or one that holds this game already',
  })
}

/** The nearest folder above that exists. */
async function existingAncestor(folder: string): Promise<string> {
  let at = folder
  while (!(await pathExists(at)) && at !== dirname(at)) at = dirname(at)
  return at
}

/** How many of the files of a release are looked for; more would tell nothing new. */
const SAMPLE = 2_000

/** How many files of a release a folder holds, by their names. */
async function countFiles(folder: string, paths: readonly string[]): Promise<number> {
  let found = 0
  for (const path of paths.slice(0, SAMPLE)) {
    const entry = await lstat(join(folder, ...path.split('/'))).catch(() => undefined)
    if (entry?.isFile() === true) found += 1
  }
  return found
}

async function checkContents(folder: string, { adopt, paths = [] }: ChooseOptions): Promise<FolderLook['kind']> {
  const names = await readdir(folder)
  if (names.length === 0) return 'empty'
  if (names.includes(updatesFolder)) return 'install'
  if (adopt === true && (await countFiles(folder, paths)) > 0) return 'game'
  return refuse(folder, `it holds other files, "${names[0] ?? ''}" among them`)
}

/** Holds a folder to all rules, and changes nothing. */
async function checkFolder(
  given: string,
  options: ChooseOptions,
): Promise<{ folder: string; kind: FolderLook['kind'] }> {
  if (given === '' || !isAbsolute(given)) refuse(given, 'it is not a whole path')
  const folder = resolve(given)
  if (folder === parse(folder).root || folder === homedir()) refuse(folder, 'choose a folder inside it')
  if (SYSTEM_FOLDERS.some((pattern) => pattern.test(folder)) && !folder.startsWith(homedir() + '/'))
    refuse(folder, 'it belongs to the system')
  try {
    const found = await lstat(folder).catch(() => undefined)
    if (found?.isSymbolicLink() === true) refuse(folder, 'it is a link')
    if (found !== undefined && !found.isDirectory()) refuse(folder, 'it is not a folder')
    const kind = found === undefined ? 'new' : await checkContents(folder, options)
    await access(await existingAncestor(folder), constants.W_OK)
    return { folder, kind }
  } catch (cause) {
    if (cause instanceof LauncherError) throw cause
    return refuse(folder, `it cannot be written (${systemErrorCode(cause) ?? 'failed'})`)
  }
}

/**
 * Checks a folder that a player chose for the game and makes it: absolute, not a link, no system folder, nobody's home
 * itself, writable, and empty, ours, or with `adopt` one that holds files of the release.
 *
 * @returns Its real path.
 * @throws LauncherError `LA_FOLDER` saying what is wrong.
 */
export async function prepareInstallFolder(given: string, options: ChooseOptions = {}): Promise<string> {
  const { folder } = await checkFolder(given, options)
  try {
    await mkdir(folder, { recursive: true })
    return await realpath(folder)
  } catch (cause) {
    return refuse(folder, `it cannot be written (${systemErrorCode(cause) ?? 'failed'})`)
  }
}

/** Says what a folder is, and changes nothing. */
export async function lookAtFolder(given: string, paths: readonly string[]): Promise<FolderLook> {
  try {
    const { folder, kind } = await checkFolder(given, { adopt: true, paths })
    const { bavail, bsize } = await statfs(await existingAncestor(folder))
    return { kind, freeBytes: bavail * bsize, found: kind === 'game' ? await countFiles(folder, paths) : 0 }
  } catch (error) {
    if (!(error instanceof LauncherError)) throw error
    return { kind: 'refused', freeBytes: undefined, found: 0, message: error.message }
  }
}

/** Whether a release was installed in a folder, wholly or in part. */
export async function holdsInstall(folder: string): Promise<boolean> {
  return await stat(join(folder, updatesFolder)).then(
    (found) => found.isDirectory(),
    () => false,
  )
}

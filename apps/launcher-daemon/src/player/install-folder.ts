import { access, constants, lstat, mkdir, readdir, realpath, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, isAbsolute, join, parse, resolve } from 'node:path'
import { LauncherError, updatesFolder } from '@keyturn/install-engine'
import { pathExists, systemErrorCode } from '@keyturn/primitives/node'

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

async function checkContents(folder: string): Promise<void> {
  const names = await readdir(folder)
  if (names.length > 0 && !names.includes(updatesFolder))
    refuse(folder, `it holds other files, "${names[0] ?? ''}" among them`)
}

/**
 * Checks a folder that a player chose for the game and makes it: absolute, not a link, no system folder, nobody's home
 * itself, empty or ours, and writable.
 *
 * @returns Its real path.
 * @throws LauncherError `LA_FOLDER` saying what is wrong.
 */
export async function prepareInstallFolder(given: string): Promise<string> {
  if (given === '' || !isAbsolute(given)) refuse(given, 'it is not a whole path')
  const folder = resolve(given)
  if (folder === parse(folder).root || folder === homedir()) refuse(folder, 'choose a folder inside it')
  if (SYSTEM_FOLDERS.some((pattern) => pattern.test(folder)) && !folder.startsWith(homedir() + '/'))
    refuse(folder, 'it belongs to the system')
  try {
    const found = await lstat(folder).catch(() => undefined)
    if (found?.isSymbolicLink() === true) refuse(folder, 'it is a link')
    if (found !== undefined && !found.isDirectory()) refuse(folder, 'it is not a folder')
    if (found !== undefined) await checkContents(folder)
    await access(await existingAncestor(folder), constants.W_OK)
    await mkdir(folder, { recursive: true })
    return await realpath(folder)
  } catch (cause) {
    if (cause instanceof LauncherError) throw cause
    return refuse(folder, `it cannot be written (${systemErrorCode(cause) ?? 'failed'})`)
  }
}

/** Whether a release was installed in a folder, wholly or in part. */
export async function holdsInstall(folder: string): Promise<boolean> {
  return await stat(join(folder, updatesFolder)).then(
    (found) => found.isDirectory(),
    () => false,
  )
}

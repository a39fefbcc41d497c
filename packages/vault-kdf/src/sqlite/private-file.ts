import { chmodSync, closeSync, lstatSync, openSync } from 'node:fs'
import { systemErrorCode } from '@keyturn/primitives/node'
import { VaultError } from '../errors.ts'

const OWNER_ONLY = 0o600
const GROUP_AND_OTHERS = 0o077

/**
 * Makes the files of a database readable by their owner alone, before SQLite opens them: cell and record names are in
 * them in clear. A new file is created with mode 0600, and SQLite gives `-wal` and `-shm` the mode of the database.
 * Files of an earlier version, which were made under the umask, are tightened. Windows has no such modes.
 *
 * @param path - Path of the database; `:memory:` and the empty path have no file.
 * @throws VaultError `VK_STORE_IO`.
 */
export function makePrivate(path: string): void {
  if (path === '' || path === ':memory:' || process.platform === 'win32') return
  try {
    createEmpty(path)
    for (const file of [path, `${path}-wal`, `${path}-shm`, `${path}-journal`]) tighten(file)
  } catch (cause) {
    throw new VaultError('VK_STORE_IO', `Cannot make the database "${path}" private to its owner`, {
      cause,
      hint: 'Check that the folder exists and that the files of the database belong to this user',
    })
  }
}

/**
 * A database that is there is not opened here: closing any descriptor of a file gives up every POSIX lock that this
 * process holds on it, those of another open store included.
 */
function createEmpty(path: string): void {
  try {
    closeSync(openSync(path, 'wx', OWNER_ONLY))
  } catch (error) {
    if (systemErrorCode(error) !== 'EEXIST') throw error
  }
}

function tighten(file: string): void {
  const mode = lstatSync(file, { throwIfNoEntry: false })?.mode
  if (mode !== undefined && (mode & GROUP_AND_OTHERS) !== 0) chmodSync(file, OWNER_ONLY)
}

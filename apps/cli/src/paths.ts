import { existsSync, statSync } from 'node:fs'
import { printable } from '@keyturn/primitives'
import { CliError } from './errors.ts'

/**
 * Refuses files and folders that are named and not there, before anything is done.
 *
 * @throws {@link CliError} `CLI_PATH_UNKNOWN`.
 */
export function requireFiles(...paths: readonly (string | undefined)[]): void {
  for (const path of paths) {
    if (path !== undefined && !existsSync(path))
      throw new CliError('CLI_PATH_UNKNOWN', `No such file or folder: "${printable(path)}"`)
  }
}

/**
 * Refuses an input folder that is not there, or is a file.
 *
 * @throws {@link CliError} `CLI_PATH_UNKNOWN`.
 */
export function requireFolder(path: string): void {
  requireFiles(path)
  if (!statSync(path).isDirectory())
    throw new CliError('CLI_PATH_UNKNOWN', `Expected a folder, found a file: "${printable(path)}"`)
}

/**
 * Refuses to replace what is there already, before anything is done.
 *
 * @throws {@link CliError} `CLI_EXISTS`.
 */
export function refuseExisting(path: string | undefined, isForced: boolean | undefined): void {
  if (path === undefined || isForced === true || !existsSync(path)) return
  throw new CliError('CLI_EXISTS', `Already there: "${printable(path)}"`, {
    hint: 'Give --force to replace it, or another name',
  })
}

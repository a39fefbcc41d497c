import { randomBytes } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { KeyturnError } from '@keyturn/primitives'

/** Where the details of an unexpected error were put. */
export interface ReportPlace {
  /** Short name to quote. */
  readonly id: string
  /** The file. */
  readonly path: string
}

/**
 * Writes what is known of a fault of ours to a file only its owner reads: the stack, never arguments or input.
 *
 * @param error - The fault.
 * @param command - `pack build`.
 * @param homeFolder - Preferred place; the temporary folder when it does not exist.
 */
export async function writeReport(
  error: KeyturnError,
  command: string,
  homeFolder: string | undefined,
): Promise<ReportPlace> {
  const id = randomBytes(5).toString('hex')
  const text =
    `report ${id}\ncommand ${command}\nnode ${process.version} ${process.platform} ` +
    `${process.arch}\n\n${stacks(error)}\n`
  for (const folder of homeFolder === undefined ? [tmpdir()] : [join(homeFolder, 'reports'), tmpdir()]) {
    const path = join(folder, `keyturn-${id}.txt`)
    try {
      if (folder !== tmpdir()) await mkdir(folder, { mode: 0o700 })
    } catch (problem) {
      if ((problem as NodeJS.ErrnoException).code !== 'EEXIST') continue
    }
    try {
      await writeFile(path, text, { mode: 0o600, flag: 'wx' })
      return { id, path }
    } catch {
      // The next folder is tried; a report that cannot be written must not hide the error itself.
    }
  }
  return { id, path: '(it could not be written)' }
}

function stacks(error: unknown): string {
  const parts: string[] = []
  for (let at = error, depth = 0; at instanceof Error && depth < 8; at = at.cause, depth += 1)
    parts.push(at.stack ?? at.message)
  return parts.join('\ncaused by: ')
}

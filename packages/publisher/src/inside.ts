import { realpath, rm } from 'node:fs/promises'
import { isAbsolute, join, relative, resolve, sep } from 'node:path'
import { printable } from '@keyturn/primitives'
import { PublisherError } from './errors.ts'

/**
 * The path of something relative to a folder it is in, `''` for the folder itself; undefined when it is elsewhere.
 * Looks at the two names only; links are not followed.
 *
 * @param folder - The folder.
 * @param path - What may be in it.
 */
export function pathInside(folder: string, path: string): string | undefined {
  const way = relative(resolve(folder), resolve(path))
  return way === '..' || way.startsWith(`..${sep}`) || isAbsolute(way) ? undefined : way
}

/**
 * Whether the bytes of a file are on the disk inside a folder: false when it does not exist, or is a link to another
 * medium.
 *
 * @param folder - A folder that exists.
 * @param file - The file.
 */
export async function isStoredInside(folder: string, file: string): Promise<boolean> {
  try {
    return pathInside(await realpath(folder), await realpath(file)) !== undefined
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return false
    throw error
  }
}

/**
 * Joins a folder with names that came from a file, and proves that the result is below the folder.
 *
 * @param folder - The folder.
 * @param names - One or more names.
 * @throws {@link PublisherError} `CLI_TURN_JOURNAL` when they lead out of the folder, or are the folder itself.
 */
export function placeInside(folder: string, ...names: readonly string[]): string {
  const place = resolve(join(folder, ...names))
  const path = pathInside(folder, place)
  if (
    path === undefined ||
    path === '' ||
    names.some((name) => name === '' || name === '.' || name === '..' || /[\\/\0]/.test(name))
  )
    throw new PublisherError(
      'CLI_TURN_JOURNAL',
      `"${printable(names.join('/'), 200)}" is not a place inside "${folder}"`,
    )
  return place
}

/** Removes a file or folder that {@link placeInside} proves to be below `folder`, with all that is in it. */
export async function removeInside(folder: string, ...names: readonly string[]): Promise<void> {
  await rm(placeInside(folder, ...names), { recursive: true, force: true })
}

import { rm } from 'node:fs/promises'
import { isAbsolute, join, relative, resolve, sep } from 'node:path'
import { printable } from '@keyturn/primitives'
import { PublisherError } from './errors.ts'

/**
 * Joins a folder with names that came from a file, and proves that the result is below the folder.
 *
 * @param folder - The folder.
 * @param names - One or more names.
 * @throws {@link PublisherError} `CLI_TURN_JOURNAL` when they lead out of the folder, or are the folder itself.
 */
export function placeInside(folder: string, ...names: readonly string[]): string {
  const place = resolve(join(folder, ...names))
  const path = relative(resolve(folder), place)
  const leadsOut = path === '' || path === '..' || path.startsWith(`..${sep}`) || isAbsolute(path)
  if (leadsOut || names.some((name) => name === '' || name === '.' || name === '..' || /[\\/\0]/.test(name)))
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

import { fstatSync, lstatSync, readlinkSync, realpathSync } from 'node:fs'
import { join } from 'node:path'

/**
 * Whether an open descriptor is the file at a path below a folder, with no link on the way. Asked after the file was
 * opened: another user who swaps a folder for a link between a check and the opening gains nothing.
 *
 * @param descriptor - Of the opened file.
 * @param root - The folder, by its real path: see `realpathSync`.
 * @param path - Below it, with forward slashes, spelled as the folders list it.
 */
export function isOpenedInside(descriptor: number, root: string, path: string): boolean {
  const place = join(root, path)
  try {
    // Linux says what was opened in one call.
    if (process.platform === 'linux') return readlinkSync(`/proc/self/fd/${descriptor}`) === place
  } catch {
    // No /proc here.
  }
  try {
    if (realpathSync.native(place) !== place) return false
    const [opened, there] = [fstatSync(descriptor, { bigint: true }), lstatSync(place, { bigint: true })]
    return opened.ino === there.ino && opened.dev === there.dev
  } catch {
    return false // gone, or swapped just now
  }
}

import { basename, dirname, isAbsolute, join, sep } from 'node:path'
import { PrimitivesError, printable } from '../errors.ts'
import { onDisk } from './file-error.ts'
import { isMissing, nodeFileSystem } from './file-system.ts'
import type { FileSystem } from './file-system.ts'

/** As many as Linux follows. */
const MAX_LINKS = 40
const STICKY = 0o1000
const OTHERS_WRITE = 0o002

/**
 * Where a write to `path` has to go: `path` itself unless it is a symbolic link, else the file that the link leads to.
 * A rename onto a link would replace the link, and what was written would then be here instead of on the other disk.
 *
 * @returns `path` as given, or the absolute path of an existing file or special file that is not a link.
 * @throws PrimitivesError `PRIM_LINK` when the link leads to nothing (a disk that is not mounted, say), into a circle,
 * or was placed by another user in a folder that everybody may write to; `PRIM_FILE`.
 */
export async function resolveLink(path: string, fs: FileSystem = nodeFileSystem): Promise<string> {
  let place = path
  for (let links = 0; links <= MAX_LINKS; links++) {
    const found = await onDisk('Cannot look at', place, () => ifThere(() => fs.lstat(place)))
    if (found === undefined && place !== path) throw leadsNowhere(path, place)
    if (found === undefined || !found.isSymbolicLink()) return place
    // The target of a relative link counts from the real folder of the link, whatever links lead to that folder.
    const folder = await onDisk('Cannot look at', place, () => fs.realpath(dirname(place)))
    if (await isPlanted(found.uid, folder, fs))
      throw refused(path, 'belongs to another user, in a folder that everybody may write to')
    const target = await onDisk('Cannot read link', place, () => fs.readlink(place))
    // Put together by hand: `join` would take `..` away, which is another place after a link to a folder.
    const whole = isAbsolute(target) ? target : `${folder}${sep}${target}`
    const next = await onDisk('Cannot look at', whole, () => ifThere(() => fs.realpath(dirname(whole))))
    if (next === undefined) throw leadsNowhere(path, whole)
    place = join(next, basename(whole))
  }
  throw refused(path, `has more than ${MAX_LINKS} links one after the other`)
}

async function ifThere<T>(look: () => Promise<T>): Promise<T | undefined> {
  return await look().catch((error: unknown) => {
    if (isMissing(error)) return undefined
    throw error
  })
}

/** The rule of Linux's `protected_symlinks`, which a resolve and a rename would get round. */
async function isPlanted(owner: number, folder: string, fs: FileSystem): Promise<boolean> {
  if (process.geteuid === undefined || owner === process.geteuid()) return false
  const { mode, uid } = await onDisk('Cannot look at', folder, () => fs.stat(folder))
  return (mode & STICKY) !== 0 && (mode & OTHERS_WRITE) !== 0 && uid !== owner
}

function leadsNowhere(path: string, place: string): PrimitivesError {
  return refused(path, `leads to "${printable(place)}", which does not exist`)
}

function refused(path: string, why: string): PrimitivesError {
  return new PrimitivesError('PRIM_LINK', `Cannot write "${printable(path)}": the link ${why}`, {
    details: { path },
    hint: 'Mount the disk that the link leads to, or name the file itself',
  })
}

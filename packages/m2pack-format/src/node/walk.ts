import { printable, requireText } from '@keyturn/primitives'
import { onDisk } from '@keyturn/primitives/node'
import { readdirSync } from 'node:fs'
import type { Dirent } from 'node:fs'
import { matchesGlob } from 'node:path'
import { M2pError } from '../errors.ts'

/** Options of {@link walkFolder}. */
export interface WalkOptions {
  /**
   * Globs over whole relative paths, or over a single name when without slash; what matches is left out, folders with
   * all below.
   */
  readonly exclude?: readonly string[]
  /** Stops between two folders, with the signal's reason. */
  readonly signal?: AbortSignal | undefined
}

function excluded(path: string, name: string, globs: readonly string[]): boolean {
  return globs.some((glob) => matchesGlob(glob.includes('/') ? path : name, glob))
}

function special(path: string, entry: Dirent): M2pError {
  const kind = entry.isSymbolicLink() ? 'a symbolic link' : 'not a plain file'
  return new M2pError('M2P_SPECIAL_FILE', `Cannot pack "${printable(path)}": it is ${kind}`, {
    details: { path: printable(path) },
  })
}

/**
 * Lists the plain files below a folder, relative, with forward slashes, NFC as they are on disk.
 *
 * @throws {@link M2pError} `M2P_SPECIAL_FILE` for links, pipes, sockets, devices; `PRIM_FILE` of `PrimitivesError`.
 */
export async function walkFolder(root: string, { exclude = [], signal }: WalkOptions = {}): Promise<string[]> {
  requireText(root, 'root')
  const files: string[] = []
  const folders = ['']
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    signal?.throwIfAborted()
    const here = folder
    // Sync: on a local disk a call costs less than the way through the thread pool, and there are thousands.
    const entries = await onDisk('Cannot read folder', `${root}/${here}`, async () =>
      readdirSync(`${root}/${here}`, { withFileTypes: true }),
    )
    for (const entry of entries) {
      const path = here + entry.name
      if (exclude.length > 0 && excluded(path, entry.name, exclude)) continue
      if (entry.isDirectory()) folders.push(`${path}/`)
      else if (entry.isFile()) files.push(path)
      else throw special(path, entry)
    }
  }
  return files
}

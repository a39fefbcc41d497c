import { printable } from '@keyturn/primitives'
import { M2pError } from './errors.ts'
import { foldPath } from './paths.ts'

/** A path of an archive, no two of which are equal. */
export interface NamedPath {
  readonly path: string
  /** Whether the path is known to be its own fold: then it is not folded again. */
  readonly isFolded: boolean
}

function refuse(path: string, reason: string): never {
  throw new M2pError('M2P_PATH_COLLISION', `Cannot use path "${printable(path)}": ${reason}`, {
    details: { path: printable(path) },
  })
}

/**
 * Refuses paths that would be one file, or a file and a folder, where case does not count. The paths differ from each
 * other as they are: so two that are their own folds cannot meet, and only the others are compared with all.
 *
 * @throws {@link M2pError} `M2P_PATH_COLLISION`.
 */
export function checkCollisions(paths: readonly NamedPath[]): void {
  const folders = new Set<string>()
  /** Fold to path, of those that are not their own folds. */
  const others = new Map<string, string>()
  let last = ''
  for (const { path, isFolded } of paths) {
    const folded = isFolded ? path : foldPath(path)
    if (!isFolded) {
      if (others.has(folded)) refuse(path, 'another path is the same where case does not count')
      others.set(folded, path)
    }
    // In order, most paths share their folder with the one before.
    const end = folded.lastIndexOf('/')
    if (end < 0 || (end === last.length && folded.startsWith(last))) continue
    last = folded.slice(0, end)
    addFolders(folders, last)
  }
  const lengths = new Set([...folders].map((folder) => folder.length))
  for (const { path, isFolded } of paths) {
    if (!isFolded) continue
    // A look at the length first: to hash every path would be half the cost of all this.
    if (lengths.has(path.length) && folders.has(path)) refuse(path, 'it is a file here and a folder elsewhere')
    if (others.size > 0 && others.has(path)) refuse(path, 'another path is the same where case does not count')
  }
  for (const [folded, path] of others) if (folders.has(folded)) refuse(path, 'it is a file here and a folder elsewhere')
}

/** Adds a folder and all folders above it. */
function addFolders(folders: Set<string>, folder: string): void {
  for (let path = folder; !folders.has(path);) {
    folders.add(path)
    const slash = path.lastIndexOf('/')
    if (slash < 0) return
    path = path.slice(0, slash)
  }
}

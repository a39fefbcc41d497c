import { matchesGlob } from '@keyturn/manifest'

/** Folders at the top of a tree that the original leaves out. */
const ORIGINAL_FOLDERS = new Set(['assets', 'docs', 'scripts', 'upload', 'log'])
/** Names and endings that the original leaves out, in any folder. */
const ORIGINAL_GLOBS = ['.offsingle', '.prev*', '*.md', 'config.exe', '*.log', '*.dxvk-cache', '*.pdb', '*.old']

/** Whether the original's release tree leaves a file out. */
export function isDroppedByOriginal(path: string, all: ReadonlySet<string>): boolean {
  const parts = path.toLowerCase().split('/')
  if (parts.length > 1 && ORIGINAL_FOLDERS.has(parts[0] as string)) return true
  // An old pack is dead weight once its archive is there.
  if (path.endsWith('.pck') && all.has(`${path.slice(0, -4)}.m2p`)) return true
  return parts.some((part) => ORIGINAL_GLOBS.some((glob) => matchesGlob(glob, part)))
}

/**
 * What a release leaves out.
 *
 * @param globs - Of `--exclude`.
 * @param original - Whether the drop rules of the original count too.
 */
export function droppedFrom(
  globs: readonly string[],
  original: boolean,
): (path: string, all: ReadonlySet<string>) => boolean {
  return (path, all) => globs.some((glob) => matchesGlob(glob, path)) || (original && isDroppedByOriginal(path, all))
}

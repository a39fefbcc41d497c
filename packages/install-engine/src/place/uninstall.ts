import { join } from 'node:path'
import { limits, matchesGlob, parseManifest } from '@keyturn/manifest'
import { nodeFileSystem } from '@keyturn/primitives/node'
import type { FileSystem } from '@keyturn/primitives/node'
import { hashIfFile, placeInside, readSmallFile } from '../disk/disk.ts'
import { FolderGuard } from '../disk/folder-guard.ts'
import { removeEmptyFolders } from './move.ts'
import { layoutOf } from '../disk/layout.ts'
import { LauncherError } from '../errors.ts'

/** How an install is removed. */
export interface UninstallOptions {
  /** Default: the real disk. */
  readonly fs?: FileSystem | undefined
  /** Folders below the install that may be links on this machine; default: none. */
  readonly linkedFolders?: readonly string[] | undefined
}

/** What was removed and what stayed. */
export interface UninstallResult {
  readonly removedFiles: number
  /** Listed files with other bytes, and what the release says is the user's. */
  readonly keptFiles: readonly string[]
}

/**
 * Removes what the launcher installed: files with exactly the bytes of the installed manifest, then `.updates`. What
 * the user changed or added stays.
 *
 * @throws LauncherError `LA_NOT_INSTALLED`.
 */
export async function uninstall(
  folder: string,
  { fs = nodeFileSystem, linkedFolders }: UninstallOptions = {},
): Promise<UninstallResult> {
  const layout = layoutOf(await fs.realpath(folder))
  const bytes = await readSmallFile(fs, layout.manifest, limits.manifestBytes)
  if (bytes === undefined) throw new LauncherError('LA_NOT_INSTALLED', `Nothing is installed in "${folder}"`)
  const manifest = parseManifest(bytes)
  const guard = new FolderGuard(layout.root, fs, linkedFolders)
  const keptFiles: string[] = []
  const removed: string[] = []
  for (const file of manifest.files) {
    if (!(await guard.parentsAreReal(file.path))) continue
    const place = placeInside(layout.root, file.path)
    const sha256 = await hashIfFile(fs, place)
    if (sha256 === undefined) continue
    if (sha256 !== file.sha256 || manifest.keep.some((glob) => matchesGlob(glob, file.path))) {
      keptFiles.push(file.path)
      continue
    }
    await fs.rm(place)
    removed.push(file.path)
  }
  await removeEmptyFolders(fs, layout, removed)
  await fs.rm(join(layout.updates), { recursive: true, force: true })
  return { removedFiles: removed.length, keptFiles }
}

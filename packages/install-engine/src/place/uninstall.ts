import { join } from 'node:path'
import { limits, matchesGlob, parseManifest } from '@keyturn/manifest'
import { nodeFileSystem } from '@keyturn/primitives/node'
import type { FileSystem } from '@keyturn/primitives/node'
import { FolderGuard, hashIfFile, placeInside, readSmallFile } from '../disk/disk.ts'
import { removeEmptyParents } from './apply.ts'
import { layoutOf } from '../disk/layout.ts'
import { LauncherError } from '../errors.ts'

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
export async function uninstall(folder: string, fs: FileSystem = nodeFileSystem): Promise<UninstallResult> {
  const layout = layoutOf(await fs.realpath(folder))
  const bytes = await readSmallFile(fs, layout.manifest, limits.manifestBytes)
  if (bytes === undefined) throw new LauncherError('LA_NOT_INSTALLED', `Nothing is installed in "${folder}"`)
  const manifest = parseManifest(bytes)
  const guard = new FolderGuard(layout.root, fs)
  const keptFiles: string[] = []
  let removedFiles = 0
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
    await removeEmptyParents(fs, layout, file.path)
    removedFiles += 1
  }
  await fs.rm(join(layout.updates), { recursive: true, force: true })
  return { removedFiles, keptFiles }
}

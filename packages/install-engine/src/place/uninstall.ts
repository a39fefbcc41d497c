import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { PrimitivesError } from '@keyturn/primitives'
import { limits, matchesGlob, parseManifest } from '@keyturn/manifest'
import type { ReleaseManifest } from '@keyturn/manifest'
import { inspectLock, isLockFile, lockFile, nodeFileSystem } from '@keyturn/primitives/node'
import type { FileSystem, Lock } from '@keyturn/primitives/node'
import { runningClient } from '../disk/client-process.ts'
import { hashIfFile, placeInside, readSmallFile } from '../disk/disk.ts'
import { FolderGuard } from '../disk/folder-guard.ts'
import { removeEmptyFolders } from './move.ts'
import { layoutOf } from '../disk/layout.ts'
import type { Layout } from '../disk/layout.ts'
import { diskError, LauncherError } from '../errors.ts'

const POLL_MS = 50

/** How an install is removed. */
export interface UninstallOptions {
  /** Default: the real disk. */
  readonly fs?: FileSystem | undefined
  /** Folders below the install that may be links on this machine; default: none. */
  readonly linkedFolders?: readonly string[] | undefined
  /** How long a launcher that is at work is waited for, milliseconds; default 0. It is never cut short. */
  readonly lockWaitMs?: number | undefined
}

/** What was removed and what stayed. */
export interface UninstallResult {
  readonly removedFiles: number
  /** Listed files with other bytes, and what the release says is the user's. */
  readonly keptFiles: readonly string[]
}

/**
 * Removes what the launcher installed: files with exactly the bytes of the installed manifest, then `.updates`. What
 * the user changed or added stays. Nobody installs, downloads or plays meanwhile.
 *
 * @throws LauncherError `LA_NOT_INSTALLED`; `LA_LOCKED` when a launcher is at work or the client runs, `LA_PERMISSION` on
 *   a disk that is read-only: nothing is removed.
 */
export async function uninstall(folder: string, options: UninstallOptions = {}): Promise<UninstallResult> {
  try {
    return await uninstallFrom(folder, options)
  } catch (error) {
    throw diskError(error, `uninstall "${folder}"`)
  }
}

async function uninstallFrom(
  folder: string,
  { fs = nodeFileSystem, linkedFolders, lockWaitMs = 0 }: UninstallOptions,
): Promise<UninstallResult> {
  const layout = layoutOf(await fs.realpath(folder))
  await requireInstalled(fs, layout, folder)
  const locks = await takeLocks(layout, fs, lockWaitMs)
  try {
    const pid = await runningClient(fs, layout)
    if (pid !== undefined)
      throw new LauncherError('LA_LOCKED', `Cannot uninstall: the client runs (process ${pid})`, { details: { pid } })
    // Read again: what was at work before may have changed it.
    const manifest = parseManifest(await requireInstalled(fs, layout, folder))
    const guard = new FolderGuard(layout.root, fs, linkedFolders)
    const result = await removeListed(manifest, { fs, layout, guard })
    await removeOwn(fs, layout)
    return result
  } finally {
    for (const lock of locks.toReversed()) await lock.release()
    // Gone unless another launcher began meanwhile, or nothing was removed.
    await fs.rmdir(layout.updates).catch(() => undefined)
  }
}

async function requireInstalled(fs: FileSystem, layout: Layout, folder: string): Promise<Uint8Array> {
  const bytes = await readSmallFile(fs, layout.manifest, limits.manifestBytes)
  if (bytes === undefined) throw new LauncherError('LA_NOT_INSTALLED', `Nothing is installed in "${folder}"`)
  return bytes
}

/**
 * Takes install and staging folder. A launcher that downloads holds the staging folder, now and then for a moment not,
 * and wants the install in the end: so nothing is taken while it downloads, not even to try.
 */
async function takeLocks(layout: Layout, fs: FileSystem, waitMs: number): Promise<readonly Lock[]> {
  for (const deadline = performance.now() + waitMs; ;) {
    const atWork = await tryLocks(layout, fs)
    if ('locks' in atWork) return atWork.locks
    if (performance.now() >= deadline)
      throw new LauncherError('LA_LOCKED', `Cannot uninstall "${layout.root}": another launcher is at work there`, {
        details: atWork.details,
        hint: 'Wait until it has finished, or end it, then try again',
        cause: atWork.cause,
      })
    await sleep(POLL_MS)
  }
}

/** Both locks, or who has one of them. */
async function tryLocks(
  layout: Layout,
  fs: FileSystem,
): Promise<
  { readonly locks: readonly Lock[] } | { readonly details: PrimitivesError['details']; readonly cause?: unknown }
> {
  const { state, holder } = await inspectLock(layout.stagingLock, { fs })
  if (state === 'held')
    return { details: { path: layout.stagingLock, ...(holder && { pid: holder.pid, host: holder.host }) } }
  const locks: Lock[] = []
  try {
    for (const path of [layout.lock, layout.stagingLock]) locks.push(await lockFile(path, { fs }))
    return { locks }
  } catch (error) {
    for (const lock of locks) await lock.release()
    if (!(error instanceof PrimitivesError) || error.code !== 'PRIM_LOCKED') throw error
    return { details: error.details, cause: error }
  }
}

interface Removal {
  readonly fs: FileSystem
  readonly layout: Layout
  readonly guard: FolderGuard
}

async function removeListed(manifest: ReleaseManifest, { fs, layout, guard }: Removal): Promise<UninstallResult> {
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
  return { removedFiles: removed.length, keptFiles }
}

/** Removes the launcher's own folder but for the locks, which keep others out until the end. */
async function removeOwn(fs: FileSystem, { updates }: Layout): Promise<void> {
  for (const name of await fs.readdir(updates))
    if (!isLockFile(name)) await fs.rm(join(updates, name), { recursive: true, force: true })
}

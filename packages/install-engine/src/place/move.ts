import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { printable } from '@keyturn/primitives'
import { systemErrorCode } from '@keyturn/primitives/node'
import type { FileSystem } from '@keyturn/primitives/node'
import { isAbsent, listFolder, look, removeFile, syncFolders } from '../disk/disk.ts'
import { LauncherError } from '../errors.ts'
import { hostSystem } from '../disk/host-system.ts'
import type { HostSystem } from '../disk/host-system.ts'
import type { Layout } from '../disk/layout.ts'
import { changeMode } from '../disk/modes.ts'

/** What moving files works with. */
export interface MoveContext {
  readonly fs: FileSystem
  /** How long a locked file is waited for; milliseconds. */
  readonly lockPatienceMs: number
  /** Default: the one this process runs on. */
  readonly system?: HostSystem | undefined
}

/** The name beside a place that a copy from another volume has until it is whole; the place's own name is captured. */
export const HALF_COPY = /^(.+)\.[0-9a-f]{12}\.keyturn$/

/** Copies whole or not at all, then removes the source: what a rename is where two folders are on two volumes. */
async function moveAcross(fs: FileSystem, from: string, to: string): Promise<void> {
  const temporary = `${to}.${randomBytes(6).toString('hex')}.keyturn`
  try {
    await fs.copyFile(from, temporary, constants.COPYFILE_EXCL)
    const { mode } = await fs.lstat(from)
    await changeMode(fs, temporary, mode & 0o777)
    const handle = await fs.open(temporary, 'r+')
    try {
      await handle.sync()
    } finally {
      await handle.close()
    }
    await fs.rename(temporary, to)
  } catch (error) {
    await fs.rm(temporary, { force: true }).catch(() => undefined) // the first error is the one to report
    throw error
  }
  await syncFolders(fs, [dirname(to)]) // before the source goes
  await removeFile(fs, from)
}

function held(cause: unknown, errno: string, from: string, to: string): LauncherError {
  return new LauncherError(
    'LA_LOCKED',
    `Cannot replace "${printable(to, 1000)}": another program holds it (${errno})`,
    {
      details: { errno, path: to, from },
      hint: 'Close the programs that use the files of the game, a virus scan among them, then try again',
      cause,
    },
  )
}

/**
 * Renames; a file held by another program is waited for, from 0.1 s growing to 2 s (MUST-27). Across volumes the file
 * is copied.
 */
export async function renamePatiently(context: MoveContext, from: string, to: string): Promise<'renamed' | 'copied'> {
  const deadline = performance.now() + context.lockPatienceMs
  for (let waitMs = 100; ; waitMs = Math.min(2_000, waitMs * 2)) {
    try {
      await context.fs.rename(from, to)
      return 'renamed'
    } catch (error) {
      const code = systemErrorCode(error) ?? ''
      if (code === 'EXDEV' && (await look(context.fs, from)).kind === 'file') {
        await moveAcross(context.fs, from, to)
        return 'copied'
      }
      if (!(context.system ?? hostSystem).heldCodes.has(code)) throw error
      if (performance.now() + waitMs > deadline) throw held(error, code, from, to)
      await sleep(waitMs)
    }
  }
}

/** What systems answer when a folder is not empty. */
const FILLED_CODES = new Set(['ENOTEMPTY', 'EEXIST'])

/** Removes a folder that holds nothing but empty folders; `false` when there is a file in it, or it is one. */
export async function removeEmptyTree(fs: FileSystem, folder: string): Promise<boolean> {
  // A folder that the system only remembers is gone already.
  for (const name of await listFolder(fs, folder)) {
    const place = join(folder, name)
    const found = await look(fs, place)
    if (found.kind === 'nothing') continue
    if (found.kind === 'file' || found.what !== 'folder' || !(await removeEmptyTree(fs, place))) return false
  }
  try {
    await fs.rmdir(folder)
    return true
  } catch (error) {
    // Something came into it or into its place since it was listed.
    if (FILLED_CODES.has(systemErrorCode(error) ?? '')) return false
    if (!isAbsent(error)) throw error
    return (await look(fs, folder)).kind === 'nothing'
  }
}

/**
 * Removes the folders above these paths that have become empty, never the root.
 *
 * @returns The removed ones, below the root.
 */
export async function removeEmptyFolders(
  fs: FileSystem,
  layout: Layout,
  paths: Iterable<string>,
): Promise<readonly string[]> {
  const removed: string[] = []
  const stays = new Set<string>()
  const parents = new Set(Array.from(paths, (path) => path.slice(0, Math.max(0, path.lastIndexOf('/')))))
  const deepestFirst = [...parents].sort((a, b) => b.split('/').length - a.split('/').length)
  for (const start of deepestFirst) {
    for (
      let folder = start;
      folder !== '' && !stays.has(folder);
      folder = folder.slice(0, Math.max(0, folder.lastIndexOf('/')))
    ) {
      try {
        await fs.rmdir(join(layout.root, folder))
        removed.push(folder)
      } catch {
        stays.add(folder) // not empty, not there, or in use: it stays, and so does what is above it
      }
    }
  }
  return removed
}

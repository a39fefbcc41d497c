import { basename, dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { foldPath } from '@keyturn/manifest'
import { isMissing, pathExists } from '@keyturn/primitives/node'
import type { FileSystem } from '@keyturn/primitives/node'
import { listFolder, look, placeInside } from '../disk/disk.ts'
import type { FolderGuard } from '../disk/folder-guard.ts'
import { renamePatiently } from './move.ts'
import type { MoveContext } from './move.ts'

// Some systems remember a name for a second under each spelling it was asked for, also after it is gone under another.

/** How long, and how often, a name that the system remembers wrongly is waited out. */
const PAUSE_MS = 250
const TRIES = 12

/** Whether a name is answered for that its folder does not list in any spelling. */
async function isRemembered(fs: FileSystem, path: string): Promise<boolean> {
  if ((await look(fs, path)).kind === 'nothing') return false
  const folded = foldPath(basename(path))
  return !(await listFolder(fs, dirname(path))).some((name) => foldPath(name) === folded)
}

/** Waits while the system remembers a name that is gone. */
export async function untilForgotten(fs: FileSystem, path: string): Promise<void> {
  for (let tries = TRIES; tries > 0 && (await isRemembered(fs, path)); tries--) await sleep(PAUSE_MS)
}

/** Moves a file that was seen; where the system only remembered it, there is nothing to move. */
export async function moveIfThere(context: MoveContext, from: string, to: string): Promise<void> {
  try {
    await renamePatiently(context, from, to)
  } catch (error) {
    if (!isMissing(error)) throw error
    for (let tries = TRIES; (await look(context.fs, from)).kind !== 'nothing'; tries--) {
      if (tries === 0) throw error
      await sleep(PAUSE_MS)
    }
  }
}

/** A file and the place below the root that it is moved to. */
export interface Placement {
  readonly from: string
  readonly root: string
  /** Relative to the root. */
  readonly path: string
}

/**
 * Moves a file to its place, and makes the folders above that the system only remembered: an earlier change removed them
 * under another spelling.
 */
export async function moveIntoPlace(
  context: MoveContext,
  guard: FolderGuard,
  { from, root, path }: Placement,
): Promise<'renamed' | 'copied'> {
  const live = placeInside(root, path)
  try {
    return await renamePatiently(context, from, live)
  } catch (error) {
    if (!isMissing(error) || !(await pathExists(from, context.fs))) throw error
  }
  const parts = path.split('/')
  for (let count = 1; count < parts.length; count++)
    await untilForgotten(context.fs, placeInside(root, parts.slice(0, count).join('/')))
  guard.forgetAll()
  await guard.makeParents(path)
  return await renamePatiently(context, from, live)
}

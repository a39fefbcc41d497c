import { setTimeout as sleep } from 'node:timers/promises'
import { pathExists } from '@keyturn/primitives/node'
import { isAbsent, look, placeInside } from '../disk/disk.ts'
import type { FolderGuard } from '../disk/folder-guard.ts'
import { NAME_PAUSE_MS, NAME_TRIES, untilForgotten } from '../disk/remembered-names.ts'
import { renamePatiently } from './move.ts'
import type { MoveContext } from './move.ts'

/** Moves a file that was seen; where the system only remembered it, there is nothing to move. */
export async function moveIfThere(context: MoveContext, from: string, to: string): Promise<void> {
  try {
    await renamePatiently(context, from, to)
  } catch (error) {
    if (!isAbsent(error)) throw error
    for (let tries = NAME_TRIES; (await look(context.fs, from)).kind !== 'nothing'; tries--) {
      if (tries === 0) throw error
      await sleep(NAME_PAUSE_MS)
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
 * Moves a file to its place, and makes the folders above that the system only remembered: an earlier change removed
 * them under another spelling, or a file was where they are.
 *
 * @throws LauncherError `LA_IN_THE_WAY` when a folder above is a file.
 */
export async function moveIntoPlace(
  context: MoveContext,
  guard: FolderGuard,
  { from, root, path }: Placement,
): Promise<'renamed' | 'copied'> {
  const live = placeInside(root, path)
  for (let tries = NAME_TRIES; ; tries--) {
    try {
      return await renamePatiently(context, from, live)
    } catch (error) {
      if (!isAbsent(error) || tries === 0 || !(await pathExists(from, context.fs))) throw error
    }
    if (tries < NAME_TRIES) await sleep(NAME_PAUSE_MS)
    const parts = path.split('/')
    for (let count = 1; count < parts.length; count++)
      await untilForgotten(context.fs, placeInside(root, parts.slice(0, count).join('/')))
    guard.forgetAll()
    await guard.makeParents(path)
  }
}

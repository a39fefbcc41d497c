import { basename, dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { foldPath } from '@keyturn/manifest'
import type { FileSystem } from '@keyturn/primitives/node'
import { listFolder, look } from './disk.ts'

// Some systems remember a name for a second under each spelling it was asked for, also after it is gone under another.

/** How long, and how often, a name that the system remembers wrongly is waited out. */
export const NAME_PAUSE_MS = 250
export const NAME_TRIES = 12

/** Whether a name is answered for that its folder does not list in any spelling. */
async function isRemembered(fs: FileSystem, path: string): Promise<boolean> {
  if ((await look(fs, path)).kind === 'nothing') return false
  const folded = foldPath(basename(path))
  return !(await listFolder(fs, dirname(path))).some((name) => foldPath(name) === folded)
}

/** Waits while the system remembers a name that is gone. */
export async function untilForgotten(fs: FileSystem, path: string): Promise<void> {
  for (let tries = NAME_TRIES; tries > 0 && (await isRemembered(fs, path)); tries--) await sleep(NAME_PAUSE_MS)
}

import { basename, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { foldPath } from '@keyturn/manifest'
import type { FileSystem } from '@keyturn/primitives/node'
import { listFolder, look } from './disk.ts'
import type { Found } from './disk.ts'

// Some systems remember a name for a second under each spelling it was asked for, also after it is gone under another.

/** How long, and how often, a name that the system remembers wrongly is waited out. */
export const NAME_PAUSE_MS = 250
export const NAME_TRIES = 12

/** Whether a name is answered for that its folder does not list in any spelling. */
async function isRemembered(fs: FileSystem, path: string): Promise<boolean> {
  const found = await look(fs, path)
  if (found.kind === 'nothing') return false
  const [folder, own] = [dirname(path), basename(path)]
  const folded = foldPath(own)
  for (const name of await listFolder(fs, folder)) {
    if (foldPath(name) !== folded) continue
    if (letters(name) === letters(own)) return false
    // One file on some systems and two on others (`ß` and `SS`): only what answers can tell.
    if (isAlike(found, await look(fs, join(folder, name)))) return false
  }
  return true
}

/** A name as the systems that fold least compare it: letter by letter. */
function letters(name: string): string {
  const upper = (letter: string): string => {
    const other = letter.toUpperCase()
    return other.length === letter.length ? other : letter
  }
  return Array.from(name.normalize('NFC'), upper).join('')
}

/** Whether two answers may be about one file; the number of a file says nothing where names are remembered. */
function isAlike(one: Found, other: Found): boolean {
  if (one.kind === 'file' && other.kind === 'file')
    return one.identity.size === other.identity.size && one.identity.mtimeNs === other.identity.mtimeNs
  return one.kind === 'other' && other.kind === 'other' && one.what === other.what
}

/** Waits while the system remembers a name that is gone. */
export async function untilForgotten(fs: FileSystem, path: string): Promise<void> {
  for (let tries = NAME_TRIES; tries > 0 && (await isRemembered(fs, path)); tries--) await sleep(NAME_PAUSE_MS)
}

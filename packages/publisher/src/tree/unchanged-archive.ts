import { constants } from 'node:fs'
import { copyFile, lstat, open } from 'node:fs/promises'
import { onDisk, writeFileAtomic } from '@keyturn/primitives/node'
import { hasMac, macOf } from './archive-mac.ts'
import type { PlannedArchive } from './layout.ts'
import { looksOf } from './looks.ts'
import type { Looks } from './looks.ts'
import type { KnownArchive, StatCache } from './stat-cache.ts'

/** What a copy is made of, and what vouches for it. */
export interface CopyPlan {
  readonly cache: StatCache
  /** Its path in the release tree. */
  readonly path: string
  /** The archive that was made of files that look as they do now. */
  readonly known: KnownArchive
  readonly from: string
  readonly to: string
  readonly signal: AbortSignal
}

/**
 * Copies the archive before, if it has the bytes that this home made of the same files.
 *
 * @returns Whether it did; if not, nothing is left at the place.
 */
export async function copyUnchanged({ cache, path, known, from, to, signal }: CopyPlan): Promise<boolean> {
  const stats = await lstat(from).catch(() => undefined)
  if (stats?.isFile() !== true || stats.size !== known.archiveBytes) return false
  const copyProved = async (temporary: string): Promise<void> => {
    await copyFile(from, temporary, constants.COPYFILE_FICLONE)
    if (!(await hasMac(cache.key, known, temporary, signal))) throw new OtherBytes()
    const handle = await open(temporary, 'r+')
    try {
      await handle.sync()
    } finally {
      await handle.close()
    }
  }
  try {
    await onDisk('Cannot write', to, () =>
      writeFileAtomic(to, new Uint8Array(0), { overwrite: false, beforeRename: copyProved }),
    )
  } catch (error) {
    if (error instanceof OtherBytes) return false
    throw error
  }
  cache.keep(path, known)
  return true
}

/** The archive before is not what it was: it is packed, which finds out what is wrong with it. */
class OtherBytes extends Error {}

/** An archive that was packed. */
export interface PackedArchive extends Pick<KnownArchive, 'made' | 'version'> {
  readonly input: string
  readonly planned: PlannedArchive
  /** How its files looked before. */
  readonly looks: Looks
  /** Where it is. */
  readonly archive: string
  readonly signal: AbortSignal
}

/** Remembers an archive whose files look after packing as they looked before. */
export async function notePacked(cache: StatCache, packed: PackedArchive): Promise<void> {
  const { input, planned, looks, archive, made, version, signal } = packed
  if (looksOf(input, planned)?.digest !== looks.digest) return
  const mac = await macOf(cache.key, archive, signal)
  const { size } = await lstat(archive)
  cache.note(planned.path, looks, { ...mac, made, version, archiveBytes: size })
}

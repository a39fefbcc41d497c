import { lstatSync } from 'node:fs'
import { createSha256, hexEncode, utf8Encode } from '@keyturn/primitives'
import type { PlannedArchive } from './layout.ts'

/**
 * How all files of an archive look: what tells one state of them from another without reading them, as git's index
 * does.
 */
export interface Looks {
  /** SHA-256 of path, size, times, file system and inode of each file, hex. */
  readonly digest: string
  /** Time of the newest content. */
  readonly mtimeNs: bigint
  /** Time of the newest change of any kind. */
  readonly ctimeNs: bigint
  readonly originalBytes: number
  readonly files: number
}

/** Files whose facts are hashed at a time. */
const BATCH_FILES = 512

/**
 * Looks at every file of an archive.
 *
 * @returns Undefined where one is gone, or is something else than a plain file.
 */
export function looksOf(input: string, { root, files }: Pick<PlannedArchive, 'root' | 'files'>): Looks | undefined {
  const hash = createSha256()
  const folder = root === '' ? input : `${input}/${root}`
  let [mtimeNs, ctimeNs, originalBytes, batch] = [0n, 0n, 0, '']
  for (const [index, path] of files.entries()) {
    const stats = lstatSync(`${folder}/${path}`, { bigint: true, throwIfNoEntry: false })
    if (stats?.isFile() !== true) return undefined
    if (stats.mtimeNs > mtimeNs) mtimeNs = stats.mtimeNs
    if (stats.ctimeNs > ctimeNs) ctimeNs = stats.ctimeNs
    originalBytes += Number(stats.size)
    // No path has a NUL in it.
    batch += `${path}\0${stats.size} ${stats.mtimeNs} ${stats.ctimeNs} ${stats.dev} ${stats.ino}\0`
    if ((index + 1) % BATCH_FILES !== 0) continue
    hash.update(utf8Encode(batch))
    batch = ''
  }
  hash.update(utf8Encode(batch))
  return { digest: hexEncode(hash.digest()), mtimeNs, ctimeNs, originalBytes, files: files.length }
}

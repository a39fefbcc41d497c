import { constants } from 'node:fs'
import { copyFile, lstat, open } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import type { Archive } from '@keyturn/m2pack-format'
import { createSha256, hexEncode } from '@keyturn/primitives'
import { onDisk, writeFileAtomic } from '@keyturn/primitives/node'
import type { PlannedArchive } from './layout.ts'
import { factsOf, sameFacts } from './stat-cache.ts'
import type { FileFacts, StatCache } from './stat-cache.ts'

const READ_BYTES = 4 * 1024 * 1024

/** How each file of an archive looked before it was packed, by its path below the folder of the archive. */
export type Looks = ReadonlyMap<string, FileFacts>

/** Looks at every file of an archive; undefined where one is gone. */
export function looksOf(input: string, { root, files }: PlannedArchive): Looks | undefined {
  const looks = new Map<string, FileFacts>()
  for (const path of files) {
    const facts = factsOf(join(input, root, path))
    if (facts === undefined) return undefined
    looks.set(path, facts)
  }
  return looks
}

/** An archive that was copied. */
export interface CopiedArchive {
  readonly originalBytes: number
  readonly archiveBytes: number
}

/** What a copy is made of, and what vouches for it. */
export interface CopyPlan {
  readonly cache: StatCache
  readonly planned: PlannedArchive
  readonly looks: Looks
  /** The archive before, its table verified. */
  readonly previous: Archive
  readonly from: string
  readonly to: string
  readonly signal: AbortSignal
}

/**
 * Copies the archive before, if it is just what packing would give: it has the same files, each looks as it did
 * when its SHA-256 was the one in the table, and the archive has the bytes that this home made then.
 *
 * @returns Undefined when it has to be packed; nothing is left at the place then.
 */
export async function copyUnchanged(plan: CopyPlan): Promise<CopiedArchive | undefined> {
  const { cache, planned, looks, previous, from, to, signal } = plan
  const expected = cache.findArchive(planned.path)
  if (expected === undefined || previous.entries.length !== looks.size) return undefined
  let originalBytes = 0
  for (const entry of previous.entries) {
    const facts = looks.get(entry.path)
    if (facts === undefined) return undefined
    if (cache.find(join(planned.root, entry.path), facts) !== hexEncode(entry.sha256)) return undefined
    originalBytes += entry.size
  }
  const { size } = await lstat(from)
  try {
    await onDisk('Cannot write', to, () =>
      writeFileAtomic(to, new Uint8Array(0), {
        overwrite: false,
        beforeRename: (path) => copyProved(from, path, expected, signal),
      }),
    )
  } catch (error) {
    if (error instanceof OtherBytes) return undefined
    throw error
  }
  cache.noteArchive(planned.path, expected)
  return { originalBytes, archiveBytes: size }
}

/** The archive before is not what it was: it is packed, which finds out what is wrong with it. */
class OtherBytes extends Error {}

/** Shares the blocks where the file system can; the copy is what is hashed. */
async function copyProved(from: string, to: string, expected: string, signal: AbortSignal): Promise<void> {
  await copyFile(from, to, constants.COPYFILE_FICLONE)
  const handle = await open(to, 'r+')
  try {
    if ((await hashOf(handle, signal)) !== expected) throw new OtherBytes()
    await handle.sync()
  } finally {
    await handle.close()
  }
}

async function hashOf(handle: FileHandle, signal: AbortSignal): Promise<string> {
  const hash = createSha256()
  let [piece, other] = [new Uint8Array(READ_BYTES), new Uint8Array(READ_BYTES)]
  let { bytesRead } = await handle.read(piece, 0, READ_BYTES, 0)
  for (let position = bytesRead; bytesRead > 0; position += bytesRead) {
    signal.throwIfAborted()
    // The next piece is read while this one is hashed.
    const next = handle.read(other, 0, READ_BYTES, position)
    hash.update(piece.subarray(0, bytesRead))
    bytesRead = (await next).bytesRead
    ;[piece, other] = [other, piece]
  }
  return hexEncode(hash.digest())
}

/** Remembers what was packed: files that look after it as they looked before, and the archive. */
export async function notePacked(
  cache: StatCache,
  input: string,
  planned: PlannedArchive,
  made: { readonly looks: Looks; readonly archive: Archive; readonly path: string; readonly signal: AbortSignal },
): Promise<void> {
  for (const { path, sha256 } of made.archive.entries) {
    const facts = made.looks.get(path)
    if (facts !== undefined && sameFacts(facts, factsOf(join(input, planned.root, path))))
      cache.note(join(planned.root, path), facts, hexEncode(sha256))
  }
  const handle = await open(made.path, 'r')
  try {
    cache.noteArchive(planned.path, await hashOf(handle, made.signal))
  } finally {
    await handle.close()
  }
}

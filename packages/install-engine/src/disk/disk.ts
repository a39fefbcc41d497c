import { createHash } from 'node:crypto'
import { lstatSync } from 'node:fs'
import type { BigIntStats } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { foldPath } from '@keyturn/manifest'
import { nodeFileSystem, syncFolder, systemErrorCode, writeFileAtomic } from '@keyturn/primitives/node'
import type { FileHandle, FileSystem } from '@keyturn/primitives/node'
import { folderGone, LauncherError } from '../errors.ts'
import { hostSystem } from './host-system.ts'
import type { Layout } from './layout.ts'

/** Bytes read at a time. */
export const READ_SIZE = 1024 * 1024

/** What `lstat` reports, with times in nanoseconds; a file whose identity is unchanged was not written to. */
export interface FileIdentity {
  readonly size: number
  readonly mtimeNs: bigint
  readonly ctimeNs: bigint
  readonly inode: bigint
}

/** What is at a path. */
export type Found =
  | { readonly kind: 'nothing' }
  | { readonly kind: 'other'; readonly what: string }
  | { readonly kind: 'file'; readonly identity: FileIdentity; readonly mode: number }

function toFound(stats: BigIntStats): Found {
  if (stats.isFile()) return { kind: 'file', mode: Number(stats.mode), identity: identityOf(stats) }
  const what = stats.isDirectory() ? 'folder' : stats.isSymbolicLink() ? 'link' : 'special file'
  return { kind: 'other', what }
}

/** Whether an error says that nothing is at a path: it, or a folder above it, does not exist or is a file. */
export function isAbsent(error: unknown): boolean {
  const code = systemErrorCode(error)
  return code === 'ENOENT' || code === 'ENOTDIR'
}

/** Looks at a path without following a link. */
export async function look(fs: FileSystem, path: string): Promise<Found> {
  try {
    // On the real disk the blocking call: a look takes microseconds, the way over the thread pool ten times that, and
    // an install is looked at 50,000 times before each start.
    const stats =
      fs === nodeFileSystem
        ? lstatSync(path, { bigint: true, throwIfNoEntry: false })
        : await fs.lstat(path, { bigint: true })
    return stats === undefined ? { kind: 'nothing' } : toFound(stats)
  } catch (error) {
    if (isAbsent(error)) return { kind: 'nothing' }
    throw error
  }
}

/** The identity part of a stat result. */
export function identityOf(stats: { size: bigint; mtimeNs: bigint; ctimeNs: bigint; ino: bigint }): FileIdentity {
  return { size: Number(stats.size), mtimeNs: stats.mtimeNs, ctimeNs: stats.ctimeNs, inode: stats.ino }
}

/** Whether a file is untouched since `then`. A rename changes `ctime`, so `moved` leaves it out. */
export function sameIdentity(now: FileIdentity, then: FileIdentity, moved = false): boolean {
  return (
    now.size === then.size &&
    now.mtimeNs === then.mtimeNs &&
    now.inode === then.inode &&
    (moved || now.ctimeNs === then.ctimeNs)
  )
}

/** SHA-256 of an open file from its start. */
export async function hashHandle(
  handle: FileHandle,
  options: { signal?: AbortSignal | undefined; onBytes?: ((count: number) => void) | undefined; size?: number } = {},
): Promise<string> {
  const hash = createHash('sha256')
  // Most files are small; the byte more finds the end of one in the same read.
  const buffer = new Uint8Array(Math.min(READ_SIZE, (options.size ?? READ_SIZE) + 1))
  for (let position = 0; ;) {
    options.signal?.throwIfAborted()
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, position)
    if (bytesRead === 0) return hash.digest('hex')
    hash.update(buffer.subarray(0, bytesRead))
    position += bytesRead
    options.onBytes?.(bytesRead)
  }
}

/** SHA-256 of a file, with its identity from the same descriptor. */
export async function hashFile(
  fs: FileSystem,
  path: string,
  options: { signal?: AbortSignal | undefined; onBytes?: ((count: number) => void) | undefined } = {},
): Promise<{ sha256: string; identity: FileIdentity }> {
  const handle = await fs.open(path, 'r')
  try {
    const before = identityOf(await handle.stat({ bigint: true }))
    const sha256 = await hashHandle(handle, { ...options, size: before.size })
    return { sha256, identity: before }
  } finally {
    await handle.close()
  }
}

/** SHA-256 of a file, `undefined` when there is none. */
export async function hashIfFile(fs: FileSystem, path: string, signal?: AbortSignal): Promise<string | undefined> {
  if ((await look(fs, path)).kind !== 'file') return undefined
  try {
    return (await hashFile(fs, path, { signal })).sha256
  } catch (error) {
    if (isAbsent(error)) return undefined // it went meanwhile
    throw error
  }
}

/** Reads a small file, `undefined` when there is none. Never follows a link; more than `maxBytes` is refused. */
export async function readSmallFile(fs: FileSystem, path: string, maxBytes: number): Promise<Uint8Array | undefined> {
  const found = await look(fs, path)
  if (found.kind === 'nothing') return undefined
  if (found.kind === 'other') throw new LauncherError('LA_SYMLINK', `Cannot read "${path}": it is a ${found.what}`)
  if (found.identity.size > maxBytes) {
    throw new LauncherError(
      'LA_IO',
      `Cannot read "${path}": ${found.identity.size} bytes are over the limit of ${maxBytes}`,
    )
  }
  const { buffer, byteOffset, byteLength } = await fs.readFile(path)
  return new Uint8Array(buffer, byteOffset, byteLength) // the same memory: a manifest has megabytes
}

/** Writes a small file wholly or not at all, for this user only. */
export async function writeSmallFile(fs: FileSystem, path: string, bytes: Uint8Array): Promise<void> {
  await writeFileAtomic(path, bytes, { mode: 0o600, fs })
}

/**
 * Makes the launcher's own folder in an install; never the install itself, which may have been moved away.
 *
 * @throws LauncherError `LA_FOLDER_GONE`.
 */
export async function makeUpdatesFolder(fs: FileSystem, { root, updates }: Layout): Promise<void> {
  try {
    await fs.mkdir(updates, { mode: 0o700 })
  } catch (error) {
    if (isAbsent(error)) throw folderGone(root, error)
    if (systemErrorCode(error) !== 'EEXIST') throw error
  }
}

/** Removes a file if it is there. */
export async function removeFile(fs: FileSystem, path: string): Promise<void> {
  try {
    await fs.rm(path, { force: true })
  } catch (error) {
    if (!isAbsent(error)) throw error
  }
}

/** Lists a folder; one that is not there is empty. */
export async function listFolder(fs: FileSystem, path: string): Promise<string[]> {
  try {
    return (await fs.readdir(path)).sort()
  } catch (error) {
    if (isAbsent(error)) return []
    throw error
  }
}

/**
 * The absolute place of a manifest path below `root`. The manifest was validated already; this is the second lock on
 * the door: nothing that could leave the folder gets through.
 */
export function placeInside(root: string, path: string): string {
  if (!hostSystem.isInside(path)) {
    throw new LauncherError(
      'LA_SYMLINK',
      `Cannot use path ${JSON.stringify(path)}: it does not stay inside the install`,
    )
  }
  return hostSystem.place(root, path)
}

/** Syncs folders, each once. */
export async function syncFolders(fs: FileSystem, folders: Iterable<string>): Promise<void> {
  for (const folder of new Set(folders)) {
    try {
      await syncFolder(folder, fs)
    } catch (error) {
      if (isAbsent(error)) continue // it was emptied and removed since
      if (systemErrorCode(error) !== 'EIO') throw error
      await syncSuccessor(fs, folder, error)
    }
  }
}

/**
 * Where a system remembers a name that is gone, opening it fails as a broken disk does: the folder that has the name
 * now, in another spelling, is synced in its place. A folder that is listed and cannot be opened is broken.
 */
async function syncSuccessor(fs: FileSystem, folder: string, error: unknown): Promise<void> {
  const name = basename(folder)
  const names = await listFolder(fs, dirname(folder))
  if (names.includes(name)) throw error
  const successor = names.find((other) => foldPath(other) === foldPath(name))
  if (successor !== undefined) await syncFolder(join(dirname(folder), successor), fs)
}

/** Runs `work` over `items`, at most `limit` at a time; the first error stops what has not begun. */
export async function inParallel<T>(
  items: Iterable<T>,
  limit: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const iterator = items[Symbol.iterator]()
  let failed = false
  const lane = async (): Promise<void> => {
    for (let next = iterator.next(); !failed && next.done !== true; next = iterator.next()) {
      try {
        await work(next.value)
      } catch (error) {
        failed = true
        throw error
      }
    }
  }
  const results = await Promise.allSettled(Array.from({ length: limit }, lane))
  const first = results.find((result) => result.status === 'rejected')
  if (first !== undefined) throw first.reason
}

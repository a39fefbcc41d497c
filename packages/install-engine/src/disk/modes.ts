import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { join } from 'node:path'
import { systemErrorCode } from '@keyturn/primitives/node'
import type { FileHandle, FileSystem } from '@keyturn/primitives/node'
import { hostSystem } from './host-system.ts'

/** The permission bits of a mode. */
export const PERMISSION_BITS = 0o777

/** What a file system answers that keeps no modes, or keeps them from this user. */
const REFUSALS = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EINVAL'])

/** Whether an error says that modes cannot be changed here: the bytes are as good with the mode they have. */
function isRefusedMode(error: unknown): boolean {
  return REFUSALS.has(systemErrorCode(error) ?? '')
}

/** Sets the mode of an open file where the file system lets this user do that. */
export async function changeHandleMode(handle: FileHandle, mode: number): Promise<void> {
  try {
    await handle.chmod(mode)
  } catch (error) {
    if (!isRefusedMode(error)) throw error
  }
}

/** Sets the mode at a path where the file system lets this user do that. */
export async function changeMode(fs: FileSystem, path: string, mode: number): Promise<void> {
  try {
    await fs.chmod(path, mode)
  } catch (error) {
    if (!isRefusedMode(error)) throw error
  }
}

/** Sets the mode of an installed file, never through a link, and makes that durable. */
export async function changeInstalledMode(fs: FileSystem, path: string, mode: number): Promise<void> {
  let handle: FileHandle
  try {
    handle = await fs.open(path, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0))
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ELOOP') return // it is gone or replaced: nothing to set
    if (code !== 'EACCES') throw error
    return await changeMode(fs, path, mode) // not readable to its own user
  }
  try {
    await changeHandleMode(handle, mode)
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** What a file system keeps beside bytes. */
export interface FileSystemTraits {
  /** Whether a mode that is set is there afterwards. */
  readonly hasModes: boolean
  /** Whether a new file belongs to who made it. */
  readonly hasOwners: boolean
}

/** Finds out by trying, with a file of its own in a folder of ours. */
export async function probeTraits(
  fs: FileSystem,
  folder: string,
  userId = process.getuid?.(),
): Promise<FileSystemTraits> {
  if (!hostSystem.hasModes) return { hasModes: false, hasOwners: false }
  const place = join(folder, `.probe.${randomBytes(6).toString('hex')}.tmp`)
  const handle = await fs.open(place, 'wx', 0o600)
  try {
    const { uid } = await handle.stat()
    const seen: number[] = []
    for (const mode of [0o755, 0o644]) {
      await changeHandleMode(handle, mode)
      seen.push((await handle.stat()).mode & PERMISSION_BITS)
    }
    return { hasModes: seen[0] === 0o755 && seen[1] === 0o644, hasOwners: userId === undefined || uid === userId }
  } finally {
    await handle.close()
    await fs.rm(place, { force: true })
  }
}

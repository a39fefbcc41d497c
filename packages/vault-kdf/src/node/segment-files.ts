import { PrimitivesError } from '@keyturn/primitives'
import { nodeFileSystem, systemErrorCode } from '@keyturn/primitives/node'
import type { FileHandle, FileSystem } from '@keyturn/primitives/node'
import { VaultError } from '../errors.ts'

/** File name of a segment. */
export function segmentName(number: number): string {
  return `segment-${String(number).padStart(8, '0')}.log`
}

/** The number in a segment's file name; `undefined` for any other file. */
export function segmentNumber(name: string): number | undefined {
  const match = /^segment-(\d{8,15})\.log$/.exec(name)
  return match?.[1] === undefined ? undefined : Number(match[1])
}

/** The highest segment of a folder; 0 for none. */
export async function newestSegment(folder: string, fs: FileSystem): Promise<number> {
  return Math.max(0, ...(await fs.readdir(folder)).map((name) => segmentNumber(name) ?? 0))
}

/** Whether a folder holds a {@link FolderStore}; nothing is opened or made. */
export async function folderStoreExists(folder: string, fs: FileSystem = nodeFileSystem): Promise<boolean> {
  try {
    return (await newestSegment(folder, fs)) > 0
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === 'ENOENT' || code === 'ENOTDIR') return false
    throw new VaultError('VK_STORE_IO', `The folder "${folder}" could not be read`, { cause: error })
  }
}

/** Gives the errors of disk and lock a name of this package. */
export async function named<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (cause) {
    if (cause instanceof VaultError) throw cause
    if (cause instanceof PrimitivesError && cause.code === 'PRIM_LOCKED') {
      throw new VaultError('VK_STORE_BUSY', "The vault's folder is used by another process", {
        cause,
        details: cause.details,
      })
    }
    if (systemErrorCode(cause) === undefined) throw cause
    throw new VaultError('VK_STORE_IO', "The vault's folder could not be read or written", { cause })
  }
}

/** Reads up to `length` bytes; fewer when the file ends. */
export async function readAt(handle: FileHandle, position: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(length)
  let done = 0
  while (done < length) {
    const { bytesRead } = await handle.read(bytes, done, length - done, position + done)
    if (bytesRead === 0) break
    done += bytesRead
  }
  return bytes.slice(0, done)
}

import { constants } from 'node:fs'
import type { FileHandle, FileSystem } from '@keyturn/primitives/node'
import { hashHandle, identityOf, sameIdentity } from './disk.ts'
import type { FileIdentity } from './disk.ts'
import { hostSystem } from './host-system.ts'
import { changeHandleMode, PERMISSION_BITS } from './modes.ts'

/** A blob as staging wants it. */
export interface WantedFile {
  readonly sha256: string
  readonly size: number
  /** Decides the mode; absent: the file keeps its own. */
  readonly executable?: boolean
}

/** The mode a blob is installed with. */
export function modeOf({ executable }: WantedFile): number | undefined {
  // Windows knows no modes of files, and not every Windows knows fchmod.
  return executable === undefined || !hostSystem.hasModes ? undefined : executable ? 0o755 : 0o644
}

/**
 * Takes the hash of a staged file through its own descriptor, once it has its final name and mode: nothing of ours
 * changes it from here to the swap, so `ctime` shows that anyone wrote to it, even if they set the times back.
 *
 * @returns Its identity; `undefined` when its bytes are others, it is linked elsewhere, or it changed meanwhile.
 */
export async function settle(
  handle: FileHandle,
  wanted: WantedFile,
  options: { signal?: AbortSignal | undefined; onBytes?: ((count: number) => void) | undefined } = {},
): Promise<FileIdentity | undefined> {
  const found = await handle.stat({ bigint: true })
  if (!found.isFile() || found.nlink !== 1n || found.size !== BigInt(wanted.size)) return undefined
  const mode = modeOf(wanted)
  if (mode !== undefined && (Number(found.mode) & PERMISSION_BITS) !== mode) await changeHandleMode(handle, mode)
  const before = identityOf(await handle.stat({ bigint: true }))
  if ((await hashHandle(handle, { ...options, size: wanted.size })) !== wanted.sha256) return undefined
  const after = identityOf(await handle.stat({ bigint: true }))
  return sameIdentity(before, after) ? after : undefined
}

/**
 * A copy of a read-only file is read-only too; `undefined`: this user cannot change that, so the copy is made again.
 */
async function openWritable(fs: FileSystem, path: string): Promise<FileHandle | undefined> {
  const flags = constants.O_RDWR | constants.O_NOFOLLOW
  try {
    return await fs.open(path, flags)
  } catch (error) {
    if (!isRefused(error)) throw error
  }
  try {
    const readable = await fs.open(path, constants.O_RDONLY | constants.O_NOFOLLOW)
    try {
      // Through the descriptor: whatever takes its place meanwhile keeps its mode.
      await changeHandleMode(readable, 0o600)
    } finally {
      await readable.close()
    }
    return await fs.open(path, flags)
  } catch (error) {
    if (isRefused(error)) return undefined
    throw error
  }
}

function isRefused(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'EACCES' || error.code === 'EPERM')
}

/** What settling a file by its path needs. */
export interface SettleContext {
  readonly fs: FileSystem
  readonly signal: AbortSignal
}

/** Opens a staged file, makes it durable if it is not known to be, and settles it. */
export async function settleAt(
  context: SettleContext,
  staged: string,
  blob: WantedFile,
  options: { sync?: boolean; onBytes?: (count: number) => void } = {},
): Promise<FileIdentity | undefined> {
  const handle = await openWritable(context.fs, staged)
  if (handle === undefined) return undefined
  try {
    if (options.sync === true) await handle.sync()
    return await settle(handle, blob, { signal: context.signal, onBytes: options.onBytes })
  } finally {
    await handle.close()
  }
}

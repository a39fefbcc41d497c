import { randomBytes } from 'node:crypto'
import { basename, dirname, join } from 'node:path'
import { PrimitivesError, printable } from '../errors.ts'
import { onDisk } from './file-error.ts'
import { nodeFileSystem, pathExists, systemErrorCode } from './file-system.ts'
import type { FileHandle, FileSystem } from './file-system.ts'
import { resolveLink } from './resolve-link.ts'

/** Options of {@link writeFileAtomic}. */
export interface WriteFileAtomicOptions {
  /** Permission bits the file is created with, before the umask; default `0o644`. Secrets: `0o600`. */
  readonly mode?: number | undefined
  /** Whether an existing file is replaced; default `true`. With `false` an existing file gives `EEXIST`. */
  readonly overwrite?: boolean | undefined
  /** Whether a power cut right afterwards loses nothing; default `true`. `false`: a file that no later start reads. */
  readonly durable?: boolean | undefined
  /** Called when the file is complete under its temporary name, and synced. If it throws, the target is unchanged. */
  readonly beforeRename?: ((temporaryPath: string) => Promise<void> | void) | undefined
  /** Default: the real disk. */
  readonly fs?: FileSystem | undefined
}

/** Error codes of file systems without hard links. */
const NO_HARD_LINKS = new Set(['EPERM', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP', 'EMLINK', 'EXDEV'])

/** Error codes of opening or syncing a folder where the platform cannot (Windows, some network drives). */
const NO_FOLDER_SYNC = new Set(['EPERM', 'EISDIR', 'EINVAL', 'EBADF', 'ENOTSUP', 'EOPNOTSUPP'])

/**
 * Makes the names in a folder durable: without this, a power cut can lose a rename. Does nothing where the platform
 * cannot sync folders. Real I/O errors are thrown.
 */
export async function syncFolder(path: string, fs: FileSystem = nodeFileSystem): Promise<void> {
  let handle: FileHandle | undefined
  try {
    handle = await fs.open(path, 'r')
    await handle.sync()
  } catch (error) {
    if (process.platform !== 'win32' && systemErrorCode(error) === 'EPERM') throw error
    if (!NO_FOLDER_SYNC.has(systemErrorCode(error) ?? '')) throw error
  } finally {
    await handle?.close()
  }
}

/** Writes all of `bytes`: `FileHandle.write` may write fewer on a full disk without an error. */
export async function writeAll(handle: FileHandle, bytes: Uint8Array, position?: number): Promise<void> {
  let done = 0
  while (done < bytes.length) {
    const { bytesWritten } = await handle.write(
      bytes,
      done,
      bytes.length - done,
      position === undefined ? null : position + done,
    )
    if (bytesWritten === 0)
      throw Object.assign(new Error('Cannot write: the disk accepted no bytes'), { code: 'ENOSPC' })
    done += bytesWritten
  }
}

async function writeContent(
  handle: FileHandle,
  path: string,
  content: Uint8Array | AsyncIterable<Uint8Array>,
): Promise<void> {
  const write = (part: Uint8Array): Promise<void> => onDisk('Cannot write', path, () => writeAll(handle, part))
  if (content instanceof Uint8Array) return write(content)
  for await (const part of content) await write(part)
}

/** Gives the finished temporary file its name without ever replacing what is there. */
async function linkInPlace(temporary: string, path: string, fs: FileSystem): Promise<void> {
  try {
    await fs.link(temporary, path)
  } catch (error) {
    if (!NO_HARD_LINKS.has(systemErrorCode(error) ?? '')) throw error
    // Without hard links, a check and a rename have to do. The short window between them exists only on such file
    // systems.
    if (await pathExists(path, fs)) throw Object.assign(new Error(`File "${path}" already exists`), { code: 'EEXIST' })
    return fs.rename(temporary, path)
  }
  await fs.unlink(temporary)
}

/** A rename would replace a device, pipe or socket for every program of the machine, and for good. */
async function refuseSpecial(path: string, fs: FileSystem): Promise<void> {
  const found = await fs.lstat(path).catch(() => undefined) // what cannot be looked at is reported by the open below
  if (
    found === undefined ||
    !(found.isCharacterDevice() || found.isBlockDevice() || found.isFIFO() || found.isSocket())
  )
    return
  throw new PrimitivesError(
    'PRIM_FILE',
    `Cannot write "${printable(path)}": it is a device, pipe or socket, not a file`,
    { hint: 'Write to a file' },
  )
}

/**
 * Writes a file completely or not at all: a temporary file beside it, fsync, rename, fsync of the folder. After a
 * failure the old file is unchanged and the temporary one is removed. A crash may leave a `.<name>.<random>.tmp`.
 * A symbolic link stays a link: the file it leads to is written, on its own disk.
 *
 * @param path - Target; its folder must exist.
 * @param content - The bytes, or a stream of them. An error that the stream throws is rethrown unchanged.
 * @throws PrimitivesError `PRIM_DISK_FULL`, `PRIM_EXISTS` (with `overwrite: false`; a link counts as a file that is
 * there), `PRIM_LINK` (see {@link resolveLink}), `PRIM_FILE`; the system's error is the cause.
 */
export async function writeFileAtomic(
  path: string,
  content: Uint8Array | AsyncIterable<Uint8Array>,
  options: WriteFileAtomicOptions = {},
): Promise<void> {
  const { mode = 0o644, overwrite = true, durable = true, beforeRename, fs = nodeFileSystem } = options
  const target = overwrite ? await resolveLink(path, fs) : path
  if (overwrite) await refuseSpecial(target, fs)
  const folder = dirname(target)
  const temporary = join(folder, `.${basename(target)}.${randomBytes(6).toString('hex')}.tmp`)
  const handle = await onDisk('Cannot write', path, () => fs.open(temporary, 'wx', mode))
  try {
    try {
      await writeContent(handle, path, content)
      if (durable) await onDisk('Cannot write', path, () => handle.sync())
    } finally {
      await handle.close()
    }
    await beforeRename?.(temporary)
    await onDisk('Cannot write', path, () =>
      overwrite ? fs.rename(temporary, target) : linkInPlace(temporary, target, fs),
    )
  } catch (error) {
    // Report the first error. A temporary file that cannot be removed does no harm.
    await fs.rm(temporary, { force: true }).catch(() => undefined)
    throw error
  }
  if (durable) await onDisk('Cannot sync the folder of', path, () => syncFolder(folder, fs))
}

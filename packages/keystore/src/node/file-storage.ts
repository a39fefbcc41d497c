import { dirname } from 'node:path'
import {
  lockFile,
  nodeFileSystem,
  resolveLink,
  syncFolder,
  isMissing,
  systemErrorCode,
  writeFileAtomic,
} from '@keyturn/primitives/node'
import type { FileSystem } from '@keyturn/primitives/node'
import { PrimitivesError, equalBytes, requireText } from '@keyturn/primitives'
import { KeystoreError } from '../errors.ts'
import { MAX_KEYSTORE_BYTES } from '../limits.ts'
import type { KeystoreStorage } from '../storage.ts'

/** Options of {@link fileStorage}. */
export interface FileStorageOptions {
  /** How long a writer waits for another one, milliseconds; default 5,000. */
  lockWaitMs?: number | undefined
  /**
   * Keep the generation before each change as `path.previous`; default true. With false it is removed once the new one
   * is on the disk and was read back: for a file that is moved away, of which nothing may stay behind.
   */
  keepPrevious?: boolean | undefined
  /** Default: the real disk. */
  fs?: FileSystem | undefined
}

const groupAndOthers = 0o077

/**
 * A keystore in two files: `path` and, one write behind, `path.previous`. Both are born with mode 0600; a file that
 * others may read is refused. Writers take `path.lock`. With `keepPrevious: false` there is the one file only. Where
 * `path` is a symbolic link, all of them are beside the file it leads to, so that nothing stays on this disk.
 */
export function fileStorage(path: string, options: FileStorageOptions = {}): KeystoreStorage {
  requireText(path, 'path')
  const { lockWaitMs = 5_000, keepPrevious = true, fs = nodeFileSystem } = options
  return {
    description: path,
    async read() {
      const place = await placeToRead(path, fs)
      return { current: await readPrivate(place, fs), previous: await readPrivate(`${place}.previous`, fs) }
    },
    async write(current, previous) {
      await named(path, async () => {
        const place = await resolveLink(path, fs)
        // First the old one: at no moment is there less than one whole generation.
        if (previous !== undefined && keepPrevious) await writeIfOther(`${place}.previous`, previous, fs)
        await writeIfOther(place, current, fs)
        if (!keepPrevious) await dropPrevious(place, current, fs)
      })
    },
    async lock() {
      const lock = await named(path, async () =>
        lockFile(`${await resolveLink(path, fs)}.lock`, { waitMs: lockWaitMs, fs }),
      )
      return () => named(path, () => lock.release())
    },
  }
}

/** A link that leads to nothing is a keystore that is not here, on a disk that is not mounted for instance. */
async function placeToRead(path: string, fs: FileSystem): Promise<string> {
  return await resolveLink(path, fs).catch((error: unknown) => {
    if (error instanceof PrimitivesError && error.code === 'PRIM_LINK') return path
    throw error
  })
}

async function writeIfOther(path: string, bytes: Uint8Array, fs: FileSystem): Promise<void> {
  const found = await readPrivate(path, fs)
  if (found === undefined || !equalBytes(found, bytes)) await writeFileAtomic(path, bytes, { mode: 0o600, fs })
}

/** Removes the generation before, when the present one can be read back from the disk. */
async function dropPrevious(path: string, current: Uint8Array, fs: FileSystem): Promise<void> {
  const found = await readPrivate(path, fs)
  if (found === undefined || !equalBytes(found, current))
    throw new KeystoreError('KEY_IO', `Keystore "${path}" cannot be read back`)
  await fs.rm(`${path}.previous`, { force: true })
  await syncFolder(dirname(path), fs)
}

async function readPrivate(path: string, fs: FileSystem): Promise<Uint8Array | undefined> {
  return named(path, async () => {
    let handle
    try {
      handle = await fs.open(path, 'r')
    } catch (error) {
      if (isMissing(error)) return undefined
      throw error
    }
    try {
      const { mode, size } = await handle.stat()
      if (process.platform !== 'win32' && (mode & groupAndOthers) !== 0) {
        throw new KeystoreError(
          'KEY_PERMISSION',
          `Keystore "${path}" has mode ${(mode & 0o777).toString(8)}, expected 600`,
          {
            hint: `chmod 600 '${path}'`,
          },
        )
      }
      if (size > MAX_KEYSTORE_BYTES)
        throw new KeystoreError('KEY_DAMAGED', `Keystore "${path}" has ${size} bytes, more than any keystore`)
      return new Uint8Array(await handle.readFile())
    } finally {
      await handle.close()
    }
  })
}

/** Gives the errors of the disk and of the lock a name of this package. */
async function named<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (cause) {
    if (cause instanceof PrimitivesError && cause.code === 'PRIM_LOCKED') {
      throw new KeystoreError('KEY_LOCKED', `Keystore "${path}" is being changed by another process`, {
        cause,
        details: cause.details,
      })
    }
    if (systemErrorCode(cause) === undefined || cause instanceof KeystoreError) throw cause
    throw new KeystoreError('KEY_IO', `Cannot read or write keystore "${path}": ${systemErrorCode(cause)}`, { cause })
  }
}

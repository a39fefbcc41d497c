import { constants } from 'node:fs'
import { lstat, open, readdir, readFile, unlink } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { hexEncode } from '@keyturn/primitives'
import type { RandomSource } from '@keyturn/primitives'
import { RUNTIME_KEY_BLOB_LENGTH } from '../blob.ts'
import { RuntimeKeyError } from '../errors.ts'

/** Where POSIX shared memory lives as files on Linux. */
export const SHARED_MEMORY_FOLDER = '/dev/shm'
/** What every mapping of ours is called, before pid, start time and random suffix. */
export const MAPPING_PREFIX = 'M2PackSharedKeys'

const MAPPING_NAME = /^\/M2PackSharedKeys-([1-9][0-9]*)-([0-9]+)-[0-9a-f]{32}$/
const ZEROS = new Uint8Array(RUNTIME_KEY_BLOB_LENGTH)

/** A piece of shared memory with a blob in it. */
export interface SharedMemory {
  /** What the child gets: the name as `shm_open` takes it. */
  readonly name: string
  /** Whether the child has taken the blob, that is, zeroed or removed it. */
  taken(): Promise<boolean>
  /** Zeroes and removes it. May be called again. */
  remove(): Promise<void>
}

/** Makes shared memory; the POSIX one and the one of Windows are two of these. */
export interface SharedMemoryProvider {
  create(blob: Uint8Array): Promise<SharedMemory>
  /** Removes what dead processes have left; returns how many. */
  sweep(): Promise<number>
}

/** Where and with what names POSIX shared memory is made. */
export interface PosixSharedMemoryOptions {
  /** Default {@link SHARED_MEMORY_FOLDER}. */
  readonly folder?: string | undefined
  readonly random: RandomSource
}

/** POSIX shared memory as a file of /dev/shm: 0600 from birth, `O_EXCL`, a name nobody can guess. */
export function posixSharedMemory({
  folder = SHARED_MEMORY_FOLDER,
  random,
}: PosixSharedMemoryOptions): SharedMemoryProvider {
  return {
    async create(blob) {
      const name = `/${MAPPING_PREFIX}-${process.pid}-${(await processStart(process.pid)) ?? 0}-${hexEncode(random(16))}`
      const path = join(folder, name.slice(1))
      const file = await openNew(path)
      try {
        await writeAll(file, blob)
      } catch (error) {
        await zeroAndRemove(path, file)
        throw error
      }
      return {
        name,
        taken: async () => isZero(await readStart(file)) || !(await exists(path)),
        remove: () => zeroAndRemove(path, file),
      }
    },
    sweep: () => removeLeftovers(folder),
  }
}

/** The file of a mapping name; `undefined` for a name that is not one of ours. */
export function mappingPath(name: string, folder = SHARED_MEMORY_FOLDER): string | undefined {
  return MAPPING_NAME.test(name) ? join(folder, name.slice(1)) : undefined
}

async function openNew(path: string): Promise<FileHandle> {
  const { O_RDWR, O_CREAT, O_EXCL, O_NOFOLLOW } = constants
  try {
    return await open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600)
  } catch (cause) {
    const reason = reasonOf(cause)
    if (reason === 'ENOENT' || reason === 'EACCES' || reason === 'EROFS') {
      throw new RuntimeKeyError('RK_DELIVERY_UNSUPPORTED', `Cannot make shared memory: ${reason}`, { cause })
    }
    // A name with 128 random bits exists already, as a file or as a link: somebody put it there.
    throw new RuntimeKeyError('RK_SHM_OCCUPIED', `Cannot make shared memory: ${reason}`, { cause })
  }
}

/** A write may take less than it was given on a full disk. */
async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, done)
    if (bytesWritten === 0) throw new RuntimeKeyError('RK_DELIVERY_UNSUPPORTED', 'Cannot fill shared memory: no space')
    done += bytesWritten
  }
}

async function readStart(file: FileHandle): Promise<Uint8Array> {
  const bytes = new Uint8Array(RUNTIME_KEY_BLOB_LENGTH)
  // The magic is enough to tell a blob from zeros: the key stays where it is.
  await file.read(bytes, 0, 8, 0)
  return bytes
}

function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0)
}

async function exists(path: string): Promise<boolean> {
  try {
    await lstat(path)
    return true
  } catch (error) {
    if (reasonOf(error) === 'ENOENT') return false
    throw error
  }
}

async function zeroAndRemove(path: string, file: FileHandle): Promise<void> {
  try {
    await writeAll(file, ZEROS)
  } catch (error) {
    if (reasonOf(error) === 'EBADF') return
    throw error
  } finally {
    await file.close().catch(() => {})
    await unlink(path).catch((error: unknown) => {
      if (reasonOf(error) !== 'ENOENT') throw error
    })
  }
}

/** Zeroes and unlinks the mappings of processes that are gone. Those of other users are not touched. */
async function removeLeftovers(folder: string): Promise<number> {
  let removed = 0
  const names = await readdir(folder).catch(() => [])
  for (const name of names) {
    const match = MAPPING_NAME.exec(`/${name}`)
    if (match === null) continue
    const [, pid = '', startedAt = ''] = match
    const alive = await processStart(Number(pid))
    // A pid is used again in time; the start time tells the processes apart.
    if (alive !== undefined && (alive === startedAt || startedAt === '0')) continue
    if (await removeLeftover(join(folder, name))) removed += 1
  }
  return removed
}

async function removeLeftover(path: string): Promise<boolean> {
  try {
    const status = await lstat(path)
    if (!status.isFile() || status.uid !== process.getuid?.()) return false
    const file = await open(path, constants.O_RDWR | constants.O_NOFOLLOW)
    await zeroAndRemove(path, file)
    return true
  } catch (error) {
    if (reasonOf(error) === 'ENOENT') return false
    throw error
  }
}

/** When a process started, in clock ticks since boot; `undefined` when there is none. */
async function processStart(pid: number): Promise<string | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'latin1')
    // The second field, a name in brackets, may hold anything: count from the last bracket. Start time is field 22.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]
  } catch {
    return undefined
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
}

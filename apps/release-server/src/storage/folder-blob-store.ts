import { constants } from 'node:fs'
import { randomBytes } from 'node:crypto'
import { copyFile, statfs } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { KeyturnError } from '@keyturn/primitives'
import {
  isMissing,
  nodeFileSystem,
  syncFolder,
  systemErrorCode,
  writeAll,
  writeFileAtomic,
} from '@keyturn/primitives/node'
import type { FileHandle, FileSystem } from '@keyturn/primitives/node'
import { ServerError } from '../errors.ts'
import { isBlobName, isUploadName } from './blob-store.ts'
import type { BlobInfo, BlobStore, ByteRange, ByteStream, Piece, PutOptions } from './blob-store.ts'
import { ColdBlobStore } from './cold-blob-store.ts'
import { hashed } from './hashing.ts'
import { bytesOf } from './piece-bytes.ts'

/** Bytes read from a file at a time. */
const READ_BYTES = 256 * 1024

/** Options of {@link openFolderBlobStore}. */
export interface FolderBlobStoreOptions {
  /** Default: the real disk. */
  readonly fs?: FileSystem | undefined
  /** Makes a file that shares the blocks of another, or throws; default: the clone of the file system. */
  readonly clone?: ((from: string, to: string) => Promise<void>) | undefined
}

/**
 * Opens (and creates) a blob store in a folder: `files/<hh>/<sha256>`, the same layout as the public tree, so that a
 * web server can send the same files; `uploads/` for unfinished ones, `quarantine/` for damaged ones.
 */
export async function openFolderBlobStore(root: string, options: FolderBlobStoreOptions = {}): Promise<BlobStore> {
  const fs = options.fs ?? nodeFileSystem
  for (const name of ['files', 'uploads', 'quarantine'])
    await fs.mkdir(join(root, name), { recursive: true, mode: 0o755 })
  await syncFolder(root, fs)
  return new ColdBlobStore(new FolderBlobStore(root, fs, options.clone ?? cloneFile), { root, fs })
}

const cloneFile = (from: string, to: string): Promise<void> =>
  copyFile(from, to, constants.COPYFILE_FICLONE_FORCE | constants.COPYFILE_EXCL)

class FolderBlobStore implements BlobStore {
  readonly kind = 'folder'
  readonly #root: string
  readonly #fs: FileSystem
  readonly #known = new Set<string>()

  readonly #clone: (from: string, to: string) => Promise<void>
  /** A file system that cannot clone is asked once. */
  #clones = true

  constructor(root: string, fs: FileSystem, clone: (from: string, to: string) => Promise<void>) {
    this.#root = root
    this.#fs = fs
    this.#clone = clone
  }

  localPath(sha256: string): string {
    if (!isBlobName(sha256)) throw new ServerError('BLOB_NAME', 'Cannot name a blob file: expected a SHA-256')
    return join(this.#root, 'files', sha256.slice(0, 2), sha256)
  }

  async stat(sha256: string): Promise<BlobInfo | undefined> {
    try {
      const { size, mtimeMs } = await this.#fs.lstat(this.localPath(sha256))
      return { sha256, size, writtenMs: mtimeMs }
    } catch (error) {
      if (isMissing(error)) return undefined
      throw storageError(`look up blob ${sha256}`, error)
    }
  }

  async read(sha256: string, range?: ByteRange): Promise<ByteStream> {
    const path = this.localPath(sha256)
    try {
      return readHandle(await this.#fs.open(path, 'r'), range)
    } catch (error) {
      if (isMissing(error)) throw new ServerError('BLOB_UNKNOWN', `Cannot read blob ${sha256}: it is not stored`)
      throw storageError(`read blob ${sha256}`, error)
    }
  }

  async put(sha256: string, source: ByteStream, options: PutOptions = {}): Promise<BlobInfo> {
    const path = this.localPath(sha256)
    await this.#makeFolder(sha256)
    try {
      await writeFileAtomic(path, hashed(sha256, source, options), { fs: this.#fs })
    } catch (error) {
      throw storageError(`store blob ${sha256}`, error)
    }
    return this.#written(sha256)
  }

  async assemble(sha256: string, size: number, pieces: readonly Piece[]): Promise<BlobInfo> {
    const base = this.#clones ? baseOf(pieces) : undefined
    if (base !== undefined && (await this.#assembleOnClone(sha256, size, { base, pieces })))
      return this.#written(sha256)
    return await this.put(sha256, bytesOf(this, pieces), { size })
  }

  /**
   * Clones the blob that has most bytes where the new one has them, and writes only the others over it: the rest stays
   * the same blocks of the disk. What came out is read and hashed before it gets its name.
   */
  async #assembleOnClone(
    sha256: string,
    size: number,
    { base, pieces }: { readonly base: string; readonly pieces: readonly Piece[] },
  ): Promise<boolean> {
    const path = this.localPath(sha256)
    await this.#makeFolder(sha256)
    const temporary = `${path.slice(0, -sha256.length)}.${sha256}.${randomBytes(8).toString('hex')}.tmp`
    try {
      await this.#clone(this.localPath(base), temporary)
    } catch {
      await this.#fs.rm(temporary, { force: true })
      this.#clones = false
      return false
    }
    try {
      const handle = await this.#fs.open(temporary, 'r+')
      try {
        await overwrite(handle, size, piecesToWrite(this, base, pieces))
        for await (const part of hashed(sha256, readOpen(handle, { start: 0, end: size - 1 }), { size })) void part
        await handle.sync()
      } finally {
        await handle.close()
      }
      await this.#fs.rename(temporary, path)
      await syncFolder(dirname(path), this.#fs)
    } catch (error) {
      await this.#fs.rm(temporary, { force: true })
      throw storageError(`store blob ${sha256}`, error)
    }
    return true
  }

  async delete(sha256: string): Promise<void> {
    await this.#fs.rm(this.localPath(sha256), { force: true })
  }

  async quarantine(sha256: string): Promise<void> {
    await this.#fs.rename(this.localPath(sha256), join(this.#root, 'quarantine', sha256))
    await syncFolder(join(this.#root, 'quarantine'), this.#fs)
  }

  async *list(): AsyncIterable<BlobInfo> {
    const folders = await this.#fs.readdir(join(this.#root, 'files'))
    for (const folder of folders.filter((name) => /^[0-9a-f]{2}$/.test(name)).sort()) {
      const names = await this.#fs.readdir(join(this.#root, 'files', folder))
      for (const name of names.filter(isBlobName).sort()) {
        const info = await this.stat(name)
        if (info !== undefined) yield info
      }
    }
  }

  async append(uploadId: string, offset: number, source: ByteStream, maxBytes: number): Promise<number> {
    const path = this.#uploadPath(uploadId)
    const handle = await this.#fs.open(path, constants.O_RDWR | constants.O_CREAT, 0o600).catch((error: unknown) => {
      throw storageError(`continue upload ${uploadId}`, error)
    })
    let position = offset
    try {
      if ((await handle.stat()).size < offset) {
        throw new ServerError('UP_GONE', `Cannot continue upload ${uploadId}: its first ${offset} bytes are missing`)
      }
      await handle.truncate(offset)
      for await (const part of keptWhenBroken(source)) {
        if (position + part.length > maxBytes)
          throw new ServerError('UP_LENGTH', `Cannot continue an upload beyond its ${maxBytes} bytes`)
        await writeAll(handle, part, position)
        position += part.length
      }
    } catch (error) {
      throw storageError(`continue upload ${uploadId}`, error)
    } finally {
      await handle.sync().finally(() => handle.close())
    }
    if (offset === 0) await syncFolder(join(this.#root, 'uploads'), this.#fs)
    return position
  }

  async finish(uploadId: string, sha256: string, size: number): Promise<BlobInfo> {
    const path = this.#uploadPath(uploadId)
    try {
      for await (const part of hashed(sha256, readHandle(await this.#fs.open(path, 'r')), { size })) void part
    } catch (error) {
      if (error instanceof ServerError) await this.discard(uploadId)
      throw storageError(`finish upload ${uploadId}`, error)
    }
    await this.#makeFolder(sha256)
    await this.#fs.chmod(path, 0o644)
    await this.#fs.rename(path, this.localPath(sha256))
    await syncFolder(join(this.#root, 'files', sha256.slice(0, 2)), this.#fs)
    return this.#written(sha256)
  }

  async discard(uploadId: string): Promise<void> {
    await this.#fs.rm(this.#uploadPath(uploadId), { force: true })
  }

  async *listUploads(): AsyncIterable<{ id: string; writtenMs: number }> {
    for (const id of (await this.#fs.readdir(join(this.#root, 'uploads'))).filter(isUploadName)) {
      const found = await this.#fs.lstat(this.#uploadPath(id)).catch(() => undefined)
      if (found !== undefined) yield { id, writtenMs: found.mtimeMs }
    }
  }

  async sweep(olderThanMs: number): Promise<void> {
    for (const folder of await this.#fs.readdir(join(this.#root, 'files'))) {
      const path = join(this.#root, 'files', folder)
      for (const name of await this.#fs.readdir(path)) {
        if (!name.startsWith('.') || !name.endsWith('.tmp')) continue
        const found = await this.#fs.lstat(join(path, name)).catch(() => undefined)
        if (found !== undefined && found.mtimeMs < olderThanMs) await this.#fs.rm(join(path, name), { force: true })
      }
    }
  }

  async freeBytes(): Promise<number> {
    const { bavail, bsize } = await statfs(this.#root)
    return bavail * bsize
  }

  async ping(): Promise<void> {
    await this.#fs.lstat(join(this.#root, 'files'))
  }

  async close(): Promise<void> {
    // Nothing stays open between calls.
  }

  async #makeFolder(sha256: string): Promise<void> {
    const folder = sha256.slice(0, 2)
    if (this.#known.has(folder)) return
    await this.#fs.mkdir(join(this.#root, 'files', folder), { recursive: true, mode: 0o755 })
    await syncFolder(join(this.#root, 'files'), this.#fs)
    this.#known.add(folder)
  }

  async #written(sha256: string): Promise<BlobInfo> {
    const info = await this.stat(sha256)
    if (info === undefined) throw new ServerError('SRV_STORAGE', `Cannot find blob ${sha256} just after it was written`)
    return info
  }

  #uploadPath(uploadId: string): string {
    if (!isUploadName(uploadId))
      throw new ServerError('UP_UNKNOWN', 'Cannot name an upload file: expected an upload id')
    return join(this.#root, 'uploads', uploadId)
  }
}

async function* readHandle(handle: FileHandle, range?: ByteRange): ByteStream {
  try {
    yield* readOpen(handle, range)
  } finally {
    await handle.close()
  }
}

async function* readOpen(handle: FileHandle, range?: ByteRange): ByteStream {
  let position = range?.start ?? 0
  const end = range === undefined ? Number.POSITIVE_INFINITY : range.end + 1
  while (position < end) {
    const part = new Uint8Array(Math.min(READ_BYTES, end - position))
    const { bytesRead } = await handle.read(part, 0, part.length, position)
    if (bytesRead === 0) return
    position += bytesRead
    yield bytesRead === part.length ? part : part.subarray(0, bytesRead)
  }
}

/** A sender that breaks off is not an error of an upload: the bytes received are kept, and the offset says how many. */
async function* keptWhenBroken(source: ByteStream): ByteStream {
  try {
    yield* source
  } catch (error) {
    if (error instanceof ServerError) throw error
  }
}

function storageError(what: string, error: unknown): Error {
  if (error instanceof ServerError) return error
  const full =
    (error instanceof KeyturnError && error.code === 'PRIM_DISK_FULL') ||
    systemErrorCode(error) === 'ENOSPC' ||
    systemErrorCode(error) === 'EDQUOT'
  if (full) return new ServerError('UP_DISK_FULL', `Cannot ${what}: the disk is full`, { cause: error })
  const exhausted = new Set(['EMFILE', 'ENFILE']).has(systemErrorCode(error) ?? '')
  if (exhausted) return new ServerError('SRV_UNAVAILABLE', `Cannot ${what}: too many open files`, { cause: error })
  return new ServerError('SRV_STORAGE', `Cannot ${what}: the storage failed`, { cause: error })
}

/** Less than this is not worth a clone. */
const LEAST_SHARED_BYTES = 1024 * 1024

/** The blob that has most bytes at the place where the assembled one has them; undefined when that is little. */
function baseOf(pieces: readonly Piece[]): string | undefined {
  const shared = new Map<string, number>()
  let offset = 0
  for (const { sha256, start, length } of pieces) {
    if (start === offset) shared.set(sha256, (shared.get(sha256) ?? 0) + length)
    offset += length
  }
  const [best] = [...shared].toSorted(([, one], [, other]) => other - one)
  return best !== undefined && best[1] >= LEAST_SHARED_BYTES ? best[0] : undefined
}

/** Pieces that a clone of `base` does not have in their place, with their bytes. */
async function* piecesToWrite(
  store: Pick<BlobStore, 'read'>,
  base: string,
  pieces: readonly Piece[],
): AsyncGenerator<{ readonly offset: number; readonly bytes: Uint8Array }> {
  let offset = 0
  for (const piece of pieces) {
    if (piece.sha256 !== base || piece.start !== offset) {
      let at = offset
      for await (const bytes of bytesOf(store, [piece])) {
        yield { offset: at, bytes }
        at += bytes.length
      }
    }
    offset += piece.length
  }
}

async function overwrite(
  handle: FileHandle,
  size: number,
  parts: AsyncIterable<{ readonly offset: number; readonly bytes: Uint8Array }>,
): Promise<void> {
  for await (const { offset, bytes } of parts) await writeAll(handle, bytes, offset)
  await handle.truncate(size)
}

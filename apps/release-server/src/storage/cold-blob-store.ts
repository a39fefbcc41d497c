import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { chunkDigest, parseChunkIndex } from '@keyturn/manifest/delta'
import type { ChunkIndex } from '@keyturn/manifest/delta'
import { hexEncode, OneAtATime } from '@keyturn/primitives'
import { isMissing, syncFolder, writeFileAtomic } from '@keyturn/primitives/node'
import type { FileSystem } from '@keyturn/primitives/node'
import { ServerError } from '../errors.ts'
import { isBlobName } from './blob-store.ts'
import type { BlobInfo, BlobStore, ByteRange, ByteStream, Piece, PutOptions } from './blob-store.ts'
import { bytesOf } from './piece-bytes.ts'

// Blobs of old releases as chunks, each of which is on the disk once:
//   cold/recipes/<hh>/<sha256 of the blob>   its chunk index, as launchers have it (docs/spec/manifest.md)
//   cold/chunks/<hh>/<sha256 of the chunk>   the bytes of a chunk
// A blob is whole, or a recipe, or for a moment both; then the whole file is what is read. The order of the steps is
// the promise: chunks, then the recipe, then the whole blob is read from them and hashed, and only then its file goes.

/** Whole files that are put together from chunks at the same time. */
const MAX_WARMING = 2
/** Left free on the disk by such a file. */
const RESERVE_BYTES = 1024 * 1024 * 1024

/** Longest chunk of a blob that is stored as chunks; indexes cut at 1 MiB. */
const MAX_CHUNK_BYTES = 4 * 1024 * 1024
/** Indexes group chunks up to 2 KiB at least. */
const LEAST_AVERAGE_BYTES = 1024
const SPARE_CHUNKS = 64

/** What a folder store takes over of the disk. */
export interface ColdOptions {
  readonly root: string
  readonly fs: FileSystem
}

/** A folder of blobs, some of which are stored as chunks. */
export class ColdBlobStore implements BlobStore {
  readonly kind = 'folder'
  readonly #hot: BlobStore
  readonly #fs: FileSystem
  readonly #root: string
  readonly #warming = new Map<string, Promise<void>>()
  readonly #cooling = new OneAtATime()

  constructor(hot: BlobStore, { root, fs }: ColdOptions) {
    this.#hot = hot
    this.#fs = fs
    this.#root = join(root, 'cold')
  }

  localPath(sha256: string): string {
    return this.#hot.localPath?.(sha256) ?? ''
  }

  async stat(sha256: string): Promise<BlobInfo | undefined> {
    return (await this.#hot.stat(sha256)) ?? (await this.#coldStat(sha256))
  }

  async read(sha256: string, range?: ByteRange): Promise<ByteStream> {
    try {
      return await this.#hot.read(sha256, range)
    } catch (error) {
      if (!(error instanceof ServerError) || error.code !== 'BLOB_UNKNOWN') throw error
      const index = await this.#recipe(sha256)
      if (index === undefined) throw error
      return this.#readChunks(index, range)
    }
  }

  put(sha256: string, source: ByteStream, options?: PutOptions): Promise<BlobInfo> {
    return this.#hot.put(sha256, source, options)
  }

  async assemble(sha256: string, size: number, pieces: readonly Piece[]): Promise<BlobInfo> {
    const sources = [...new Set(pieces.map((piece) => piece.sha256))]
    const found = await Promise.all(sources.map((source) => this.#hot.stat(source)))
    if (found.every((info) => info !== undefined)) return await this.#hot.assemble(sha256, size, pieces)
    return await this.#hot.put(sha256, bytesOf(this, pieces), { size })
  }

  async delete(sha256: string): Promise<void> {
    await this.#hot.delete(sha256)
    await this.#fs.rm(this.#recipePath(sha256), { force: true })
  }

  async quarantine(sha256: string): Promise<void> {
    if ((await this.#hot.stat(sha256)) !== undefined) return await this.#hot.quarantine(sha256)
    const index = await this.#recipe(sha256)
    if (index === undefined) return
    // A damaged chunk goes, so that the next blob that needs it brings it again.
    for (const [chunk, name] of chunkNames(index).entries()) {
      const bytes = await this.#fs.readFile(this.#chunkPath(name)).catch(() => undefined)
      if (bytes !== undefined && !isChunk(index, chunk, bytes))
        await this.#fs.rm(this.#chunkPath(name), { force: true })
    }
    await this.#fs.rename(this.#recipePath(sha256), join(this.#root, '..', 'quarantine', `${sha256}.recipe`))
  }

  async *list(): AsyncIterable<BlobInfo> {
    const names = await this.#recipes()
    let at = 0
    const before = async function* (store: ColdBlobStore, limit: string | undefined): AsyncIterable<BlobInfo> {
      for (; at < names.length && (limit === undefined || (names[at] as string) < limit); at += 1) {
        const info = await store.#coldStat(names[at] as string)
        if (info !== undefined) yield info
      }
      if (names[at] === limit) at += 1
    }
    for await (const info of this.#hot.list()) {
      yield* before(this, info.sha256)
      yield info
    }
    yield* before(this, undefined)
  }

  append(uploadId: string, offset: number, source: ByteStream, maxBytes: number): Promise<number> {
    return this.#hot.append(uploadId, offset, source, maxBytes)
  }

  finish(uploadId: string, sha256: string, size: number): Promise<BlobInfo> {
    return this.#hot.finish(uploadId, sha256, size)
  }

  discard(uploadId: string): Promise<void> {
    return this.#hot.discard(uploadId)
  }

  listUploads(): AsyncIterable<{ id: string; writtenMs: number }> {
    return this.#hot.listUploads()
  }

  async sweep(olderThanMs: number): Promise<void> {
    await this.#hot.sweep(olderThanMs)
    for (const kind of ['recipes', 'chunks'])
      for (const { path, name } of await this.#files(kind))
        if (!isBlobName(name) && (await this.#isOlder(path, olderThanMs))) await this.#fs.rm(path, { force: true })
  }

  async freeBytes(): Promise<number> {
    return (await this.#hot.freeBytes?.()) ?? Number.POSITIVE_INFINITY
  }

  ping(): Promise<void> {
    return this.#hot.ping()
  }

  close(): Promise<void> {
    return this.#hot.close()
  }

  /**
   * Stores a blob as chunks instead of whole.
   *
   * @param recipe - Its chunk index, as uploaded.
   * @returns Bytes of its file that are free now, less those of chunks that are new; undefined when it stays whole: it
   *   is not there, the index is of another blob or of no use as a recipe, or its bytes are damaged.
   */
  cool(sha256: string, recipe: Uint8Array): Promise<number | undefined> {
    return this.#cooling.run(async () => {
      const info = await this.#hot.stat(sha256)
      const index = parseChunkIndex(recipe)
      if (info === undefined || hexEncode(index.blobSha256) !== sha256 || index.blobBytes !== info.size)
        return undefined
      if (!isReasonable(index)) return undefined
      const added = await this.#writeChunks(sha256, index)
      if (added === undefined) return undefined
      await this.#writeNew(this.#recipePath(sha256), recipe)
      const hash = createHash('sha256')
      try {
        for await (const part of this.#readChunks(index)) hash.update(part)
      } catch (error) {
        if (error instanceof ServerError && error.code === 'BLOB_CORRUPT') return undefined
        throw error
      }
      if (hash.digest('hex') !== sha256) return undefined
      await this.#hot.delete(sha256)
      return info.size - added
    })
  }

  /** Removes chunks that no recipe names. Nobody may cool meanwhile in another process. */
  sweepChunks(olderThanMs: number): Promise<number> {
    return this.#cooling.run(async () => {
      const used = new Set<string>()
      for (const name of await this.#recipes()) {
        const index = await this.#recipe(name)
        for (const chunk of index === undefined ? [] : chunkNames(index)) used.add(chunk)
      }
      let removed = 0
      for (const { path, name } of await this.#files('chunks')) {
        if (!isBlobName(name) || used.has(name) || !(await this.#isOlder(path, olderThanMs))) continue
        await this.#fs.rm(path, { force: true })
        removed += 1
      }
      return removed
    })
  }

  /** Makes the file of a blob that is stored as chunks: once for all who ask, two at a time, while there is room. */
  async warm(sha256: string): Promise<void> {
    const running = this.#warming.get(sha256)
    if (running !== undefined) return await running
    if ((await this.#hot.stat(sha256)) !== undefined) return
    const cold = await this.#coldStat(sha256)
    if (cold === undefined) throw new ServerError('BLOB_UNKNOWN', `There is no blob ${sha256}`)
    const again = this.#warming.get(sha256)
    if (again !== undefined) return await again
    if (this.#warming.size >= MAX_WARMING)
      throw new ServerError('SRV_UNAVAILABLE', `Cannot make blob ${sha256} whole: ${MAX_WARMING} others are being made`)
    const work = this.#makeWhole(sha256, cold.size).finally(() => this.#warming.delete(sha256))
    this.#warming.set(sha256, work)
    await work
  }

  async #makeWhole(sha256: string, size: number): Promise<void> {
    if ((await this.freeBytes()) < size + RESERVE_BYTES)
      throw new ServerError('UP_DISK_FULL', `Cannot make blob ${sha256} whole: the disk has no room for ${size} bytes`)
    await this.#hot.put(sha256, await this.read(sha256), { size })
  }

  /** Bytes of the chunks that were not there; undefined when the file is not what the index says. */
  async #writeChunks(sha256: string, index: ChunkIndex): Promise<number | undefined> {
    let [start, added] = [0, 0]
    for (const [chunk, name] of chunkNames(index).entries()) {
      const length = index.lengths[chunk] as number
      const path = this.#chunkPath(name)
      if (!(await this.#hasBytes(path, length))) {
        const parts: Uint8Array[] = []
        for await (const part of await this.#hot.read(sha256, { start, end: start + length - 1 })) parts.push(part)
        const bytes = Buffer.concat(parts)
        if (!isChunk(index, chunk, bytes)) return undefined
        await this.#writeNew(path, bytes)
        added += length
      }
      start += length
    }
    return added
  }

  async *#readChunks(index: ChunkIndex, range: ByteRange = { start: 0, end: index.blobBytes - 1 }): ByteStream {
    let start = 0
    for (const [chunk, length] of index.lengths.entries()) {
      const end = start + length
      if (start > range.end) return
      if (end > range.start) {
        const bytes = await this.#readChunk(index, chunk)
        yield bytes.subarray(Math.max(0, range.start - start), Math.min(length, range.end + 1 - start))
      }
      start = end
    }
  }

  async #readChunk(index: ChunkIndex, chunk: number): Promise<Uint8Array> {
    const name = nameOf(index, chunk)
    const bytes = await this.#fs.readFile(this.#chunkPath(name)).catch((cause: unknown) => {
      throw new ServerError('BLOB_CORRUPT', `Cannot read chunk ${name}`, { cause })
    })
    if (!isChunk(index, chunk, bytes)) throw new ServerError('BLOB_CORRUPT', `Chunk ${name} is damaged`)
    return bytes
  }

  async #recipe(sha256: string): Promise<ChunkIndex | undefined> {
    let bytes: Uint8Array
    try {
      bytes = await this.#fs.readFile(this.#recipePath(sha256))
    } catch (error) {
      if (isMissing(error)) return undefined
      throw new ServerError('SRV_STORAGE', `Cannot read the recipe of blob ${sha256}`, { cause: error })
    }
    try {
      const index = parseChunkIndex(bytes)
      if (hexEncode(index.blobSha256) === sha256) return index
    } catch (cause) {
      throw new ServerError('BLOB_CORRUPT', `The recipe of blob ${sha256} is damaged`, { cause })
    }
    throw new ServerError('BLOB_CORRUPT', `The recipe of blob ${sha256} is of another one`)
  }

  async #coldStat(sha256: string): Promise<BlobInfo | undefined> {
    const path = this.#recipePath(sha256)
    const found = await this.#fs.lstat(path).catch((error: unknown) => {
      if (isMissing(error)) return undefined
      throw new ServerError('SRV_STORAGE', `Cannot look up blob ${sha256}`, { cause: error })
    })
    const index = found === undefined ? undefined : await this.#recipe(sha256)
    return found === undefined || index === undefined
      ? undefined
      : { sha256, size: index.blobBytes, writtenMs: found.mtimeMs }
  }

  async #hasBytes(path: string, length: number): Promise<boolean> {
    const found = await this.#fs.lstat(path).catch(() => undefined)
    return found?.size === length
  }

  async #isOlder(path: string, thanMs: number): Promise<boolean> {
    const found = await this.#fs.lstat(path).catch(() => undefined)
    return found !== undefined && found.mtimeMs < thanMs
  }

  async #writeNew(path: string, bytes: Uint8Array): Promise<void> {
    const folder = join(path, '..')
    await this.#fs.mkdir(folder, { recursive: true, mode: 0o755 })
    await syncFolder(join(folder, '..'), this.#fs)
    await writeFileAtomic(path, bytes, { fs: this.#fs })
  }

  /** Names of all recipes, in order. */
  async #recipes(): Promise<string[]> {
    return (await this.#files('recipes')).map(({ name }) => name).filter(isBlobName)
  }

  async #files(kind: string): Promise<{ path: string; name: string }[]> {
    const found: { path: string; name: string }[] = []
    const namesIn = async (folder: string): Promise<string[]> =>
      (await this.#fs.readdir(folder).catch((): string[] => [])).toSorted()
    for (const folder of await namesIn(join(this.#root, kind)))
      for (const name of await namesIn(join(this.#root, kind, folder)))
        found.push({ path: join(this.#root, kind, folder, name), name })
    return found
  }

  #recipePath(sha256: string): string {
    return join(this.#root, 'recipes', sha256.slice(0, 2), sha256)
  }

  #chunkPath(name: string): string {
    return join(this.#root, 'chunks', name.slice(0, 2), name)
  }
}

function nameOf(index: ChunkIndex, chunk: number): string {
  return hexEncode(chunkDigest(index, chunk))
}

function chunkNames(index: ChunkIndex): string[] {
  return [...index.lengths.keys()].map((chunk) => nameOf(index, chunk))
}

/**
 * Whether chunks are of a size that indexes have. Anyone who may publish chooses them: a chunk is read whole for each
 * byte of it that anybody asks for, and each one is a file.
 */
function isReasonable({ lengths, blobBytes }: ChunkIndex): boolean {
  const isShort = lengths.every((length) => length <= MAX_CHUNK_BYTES)
  return isShort && lengths.length <= SPARE_CHUNKS + blobBytes / LEAST_AVERAGE_BYTES
}

function isChunk(index: ChunkIndex, chunk: number, bytes: Uint8Array): boolean {
  if (bytes.length !== index.lengths[chunk]) return false
  return createHash('sha256').update(bytes).digest('hex') === nameOf(index, chunk)
}

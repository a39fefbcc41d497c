import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { join } from 'node:path'
import { syncFolder, writeAll } from '@keyturn/primitives/node'
import type { FileHandle, FileSystem } from '@keyturn/primitives/node'
import { LauncherError } from '../errors.ts'
import { look, readSmallFile, removeFile, sameIdentity, writeSmallFile } from '../disk/disk.ts'
import type { FileIdentity } from '../disk/disk.ts'
import { settle } from '../disk/settled-file.ts'
import type { WantedFile } from '../disk/settled-file.ts'

/** One piece of a file that is fetched, checked and resumed on its own. */
export interface Chunk {
  readonly offset: number
  readonly length: number
  /** 64 hex; absent where the file has no index: then only the whole is checked. */
  readonly sha256?: string
}

/** Bytes after which, and time after which, progress is made durable (C4). */
const MAX_MAP_BYTES = 64 * 1024 * 1024
const FLUSH_BYTES = 8 * 1024 * 1024
const FLUSH_MS = 2_000

/**
 * Pieces of a file without an index: what a connection brought before it broke counts from this size on, so that a
 * network that cuts every connection early gets there too.
 */
export const PLAIN_CHUNK_SIZE = 128 * 1024

/** What launchers before this one took for such a piece; a multiple of the present size. */
const EARLIER_CHUNK_SIZE = 1024 * 1024

/** The pieces of a file that has no index. */
export function plainChunks(size: number, length = PLAIN_CHUNK_SIZE): Chunk[] {
  const chunks: Chunk[] = []
  for (let offset = 0; offset < size; offset += length) chunks.push({ offset, length: Math.min(length, size - offset) })
  return chunks
}

/** Reads a map: which pieces an earlier run says it left. `undefined` for a map of other pieces. */
function readMap(map: Uint8Array, sha256: string, chunks: readonly Chunk[]): ((index: number) => boolean) | undefined {
  const grid = Buffer.from(map.subarray(0, 32)).toString('hex')
  const bits = map.subarray(32)
  const isSet = (at: number): boolean => ((bits[at >> 3] ?? 0) & (1 << (at & 7))) !== 0
  const isOf = (pieces: readonly Chunk[]): boolean =>
    grid === gridHash(sha256, pieces) && bits.length === Math.ceil(pieces.length / 8)
  if (isOf(chunks)) return isSet
  const last = chunks.at(-1)
  if (last === undefined || last.sha256 !== undefined) return undefined
  if (!isOf(plainChunks(last.offset + last.length, EARLIER_CHUNK_SIZE))) return undefined
  return (index) => isSet(Math.floor((chunks[index]?.offset ?? 0) / EARLIER_CHUNK_SIZE))
}

/** Says which grid a map belongs to, so that a map never vouches for other pieces. */
function gridHash(sha256: string, chunks: readonly Chunk[]): string {
  const hash = createHash('sha256').update(sha256)
  for (const chunk of chunks) hash.update(`\n${chunk.length} ${chunk.sha256 ?? ''}`)
  return hash.digest('hex')
}

/**
 * A file on its way: `staging/<sha256>.part` with a map of the pieces that are there. The map is written only after the
 * bytes are durable, so a crash at any byte loses less than one flush, and never trusts a byte that is not there.
 */
export class PartFile {
  readonly sha256: string
  readonly size: number
  readonly chunks: readonly Chunk[]
  readonly #wanted: WantedFile
  readonly #fs: FileSystem
  readonly #folder: string
  readonly #grid: string
  readonly #done: Uint8Array
  readonly #monotonic: () => number
  readonly #handle: FileHandle
  #closed = false
  /** A sync failed: what the disk holds of the file is not known, so nothing of it is kept. */
  #isSpoilt = false
  #unflushed = 0
  #flushedAt: number
  #flushing: Promise<void> | undefined

  private constructor(options: PartFileOptions, handle: FileHandle, done: Uint8Array) {
    this.sha256 = options.blob.sha256
    this.size = options.blob.size
    this.#wanted = options.blob
    this.chunks = options.chunks
    this.#fs = options.fs
    this.#folder = options.folder
    this.#grid = gridHash(options.blob.sha256, options.chunks)
    this.#monotonic = options.monotonic
    this.#flushedAt = options.monotonic()
    this.#handle = handle
    this.#done = done
  }

  /** Opens what an earlier run left, checking each piece it claims, or starts over. */
  static async open(options: PartFileOptions): Promise<PartFile> {
    const done = new Uint8Array(options.chunks.length)
    const handle = (await reopen(options, done)) ?? (await create(options))
    return new PartFile(options, handle, done)
  }

  get #part(): string {
    return join(this.#folder, `${this.sha256}.part`)
  }

  get #map(): string {
    return join(this.#folder, `${this.sha256}.map`)
  }

  /** Whether a piece is there. */
  has(index: number): boolean {
    return this.#done[index] === 1
  }

  /** Numbers of the pieces still to come. */
  missing(): number[] {
    const missing: number[] = []
    for (let index = 0; index < this.#done.length; index++) if (this.#done[index] === 0) missing.push(index)
    return missing
  }

  /** Bytes still to come. */
  get missingBytes(): number {
    let bytes = 0
    for (const index of this.missing()) bytes += (this.chunks[index] as Chunk).length
    return bytes
  }

  /**
   * Checks and writes one piece.
   *
   * @returns `false`, with nothing written, when its hash differs.
   */
  async put(index: number, bytes: Uint8Array): Promise<boolean> {
    const chunk = this.chunks[index] as Chunk
    if (bytes.length !== chunk.length) return false
    if (chunk.sha256 !== undefined && createHash('sha256').update(bytes).digest('hex') !== chunk.sha256) return false
    if (this.#done[index] === 1) return true
    await writeAll(this.#handle, bytes, chunk.offset)
    this.#done[index] = 1
    this.#unflushed += bytes.length
    if (this.#unflushed >= FLUSH_BYTES || this.#monotonic() - this.#flushedAt >= FLUSH_MS) await this.flush()
    return true
  }

  /** Makes what has come durable: the bytes, then the map. */
  async flush(): Promise<void> {
    this.#flushing ??= this.#flush().finally(() => {
      this.#flushing = undefined
    })
    await this.#flushing
  }

  async #flush(): Promise<void> {
    const done = this.#done.slice()
    this.#unflushed = 0
    this.#flushedAt = this.#monotonic()
    await this.#sync(() => this.#handle.datasync())
    const bits = new Uint8Array(Math.ceil(done.length / 8))
    for (let index = 0; index < done.length; index++)
      if (done[index] === 1) bits[index >> 3] = (bits[index >> 3] ?? 0) | (1 << (index & 7))
    await writeSmallFile(this.#fs, this.#map, Buffer.concat([Buffer.from(this.#grid, 'hex'), bits]))
  }

  /**
   * Gives the whole file its final name in staging and checks it there (C5): a file under that name counts only once
   * it was hashed, in this run or the next.
   *
   * @param keepsWrong - Leave a file with another hash as a part, without a map, for {@link PartFile.claim}.
   * @returns The identity of the staged file, or `undefined` when its hash differs (then nothing else is left of it);
   *   `removed` when somebody else deleted it.
   */
  async finish(
    { signal, onBytes }: { signal?: AbortSignal | undefined; onBytes?: ((count: number) => void) | undefined } = {},
    keepsWrong = false,
  ): Promise<FileIdentity | 'removed' | undefined> {
    await this.#flushing
    this.#unflushed = 0 // the whole is checked and synced below; a map is of no more use
    const staged = join(this.#folder, this.sha256)
    await this.#sync(() => this.#handle.sync())
    await this.#fs.rename(this.#part, staged)
    await syncFolder(this.#folder, this.#fs)
    await removeFile(this.#fs, this.#map)
    const identity = await settle(this.#handle, this.#wanted, { signal, onBytes })
    await this.#closeHandle()
    const found = await look(this.#fs, staged)
    if (identity !== undefined && found.kind === 'file' && sameIdentity(found.identity, identity)) return identity
    if (found.kind === 'nothing') return 'removed'
    if (identity === undefined && keepsWrong && found.kind === 'file') await this.#fs.rename(staged, this.#part)
    else await removeFile(this.#fs, staged)
    return undefined
  }

  /**
   * Says of a part that it may hold every piece. Each is read and hashed when the part is opened again with the same
   * pieces, so only those that are wrong come once more.
   */
  static async claim(
    { fs, folder, sha256 }: { readonly fs: FileSystem; readonly folder: string; readonly sha256: string },
    chunks: readonly Chunk[],
  ): Promise<void> {
    const bits = new Uint8Array(Math.ceil(chunks.length / 8)).fill(0xff)
    await writeSmallFile(
      fs,
      join(folder, `${sha256}.map`),
      Buffer.concat([Buffer.from(gridHash(sha256, chunks), 'hex'), bits]),
    )
  }

  /** Removes what a run left of a file. */
  static async remove({
    fs,
    folder,
    sha256,
  }: {
    readonly fs: FileSystem
    readonly folder: string
    readonly sha256: string
  }): Promise<void> {
    await removeFile(fs, join(folder, `${sha256}.map`))
    await removeFile(fs, join(folder, `${sha256}.part`))
  }

  async #sync(sync: () => Promise<void>): Promise<void> {
    try {
      await sync()
    } catch (error) {
      this.#isSpoilt = true // a second one would say nothing of what the first one lost
      throw error
    }
  }

  /** Keeps what has come and closes. */
  async close(): Promise<void> {
    if (this.#isSpoilt) return await this.discard()
    try {
      if (this.#unflushed > 0) await this.flush()
    } finally {
      await this.#closeHandle()
    }
  }

  async #closeHandle(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await this.#handle.close()
  }

  /** Throws away what has come. */
  async discard(): Promise<void> {
    await this.#flushing?.catch(() => undefined) // whatever it says, the file goes
    await this.#closeHandle()
    await removeFile(this.#fs, this.#map)
    await removeFile(this.#fs, this.#part)
  }
}

/**
 * Which pieces of a file an earlier run says it left, for what is shown before they are checked; `undefined` where it
 * left nothing.
 */
export async function keptPieces(
  { fs, folder, sha256 }: { readonly fs: FileSystem; readonly folder: string; readonly sha256: string },
  chunks: readonly Chunk[],
): Promise<((index: number) => boolean) | undefined> {
  const map = await readSmallFile(fs, join(folder, `${sha256}.map`), MAX_MAP_BYTES).catch(() => undefined)
  return map === undefined ? undefined : readMap(map, sha256, chunks)
}

/** What a {@link PartFile} is opened with. */
export interface PartFileOptions {
  readonly fs: FileSystem
  /** The staging folder. */
  readonly folder: string
  readonly blob: WantedFile
  readonly chunks: readonly Chunk[]
  readonly monotonic: () => number
}

async function create(options: PartFileOptions): Promise<FileHandle> {
  const path = join(options.folder, `${options.blob.sha256}.part`)
  await removeFile(options.fs, join(options.folder, `${options.blob.sha256}.map`))
  await removeFile(options.fs, path)
  try {
    // A new inode, always: nothing that waited under this name is written to (§4.7 row 204).
    return await options.fs.open(path, 'wx+', 0o600)
  } catch (cause) {
    throw cause instanceof Error && 'code' in cause && cause.code === 'EEXIST'
      ? new LauncherError('LA_STAGE_TAMPERED', `Cannot stage "${path}": another program makes files there`, { cause })
      : cause
  }
}

async function reopen(options: PartFileOptions, done: Uint8Array): Promise<FileHandle | undefined> {
  const {
    fs,
    folder,
    blob: { sha256 },
    chunks,
  } = options
  const path = join(folder, `${sha256}.part`)
  const found = await look(fs, path)
  const map = await readSmallFile(fs, join(folder, `${sha256}.map`), MAX_MAP_BYTES).catch(() => undefined)
  const claims = map === undefined ? undefined : readMap(map, sha256, chunks)
  if (found.kind !== 'file' || claims === undefined) return undefined
  const handle = await fs.open(path, constants.O_RDWR | constants.O_NOFOLLOW)
  try {
    const stats = await handle.stat()
    if (stats.nlink !== 1 || !stats.isFile())
      throw new LauncherError('LA_STAGE_TAMPERED', `Cannot go on with "${path}": it is linked elsewhere`)
    for (const [index, chunk] of chunks.entries()) {
      if (claims(index) && (await isThere(handle, chunk, stats.size))) done[index] = 1
    }
    return handle
  } catch (error) {
    await handle.close()
    if (error instanceof LauncherError) return undefined // start over under a new inode
    throw error
  }
}

/** Whether a piece that the map claims is there; those with a hash are read once more. */
async function isThere(handle: FileHandle, chunk: Chunk, size: number): Promise<boolean> {
  if (chunk.offset + chunk.length > size) return false
  if (chunk.sha256 === undefined) return true
  const bytes = new Uint8Array(chunk.length)
  const { bytesRead } = await handle.read(bytes, 0, bytes.length, chunk.offset)
  return bytesRead === bytes.length && createHash('sha256').update(bytes).digest('hex') === chunk.sha256
}

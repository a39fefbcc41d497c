import type { FileHandle, FileSystem } from '@keyturn/primitives/node'
import { isMissing } from '@keyturn/primitives/node'
import type { Chunk, PartFile } from './part-file.ts'

/** Where on this disk the bytes of a piece may lie. They are hashed before they are used. */
export interface SeedPlace {
  readonly path: string
  readonly offset: number
}

/** Open seeds at a time. */
const MAX_OPEN = 16

/** Pieces of installed files by their hash; what an update needs not fetch (MUST-15). */
export class Seeds {
  readonly #places = new Map<string, SeedPlace>()
  readonly #fs: FileSystem

  constructor(fs: FileSystem) {
    this.#fs = fs
  }

  /** Pieces known. */
  get size(): number {
    return this.#places.size
  }

  /** Learns the pieces of an installed file. The first place of a piece counts. */
  add(path: string, chunks: readonly Chunk[]): void {
    for (const { sha256, offset } of chunks) {
      if (sha256 !== undefined && !this.#places.has(sha256)) this.#places.set(sha256, { path, offset })
    }
  }

  /** Whether a piece can be read from the disk. */
  has(sha256: string): boolean {
    return this.#places.has(sha256)
  }

  /** Fills a part with every piece that is on disk, and with pieces that are in it more than once. */
  async fill(part: PartFile, options: { signal: AbortSignal; onBytes: (count: number) => void }): Promise<void> {
    const handles = new Map<string, FileHandle | undefined>()
    try {
      for (const index of part.missing()) {
        options.signal.throwIfAborted()
        const chunk = part.chunks[index] as Chunk
        const place = chunk.sha256 === undefined ? undefined : this.#places.get(chunk.sha256)
        if (place === undefined) continue
        const bytes = await this.#read(handles, place, chunk.length)
        // The file may have changed since its index was made: then the piece is fetched.
        if (bytes !== undefined && (await part.put(index, bytes))) options.onBytes(bytes.length)
      }
    } finally {
      for (const handle of handles.values()) await handle?.close()
    }
  }

  async #read(
    handles: Map<string, FileHandle | undefined>,
    place: SeedPlace,
    length: number,
  ): Promise<Uint8Array | undefined> {
    const handle = await this.#open(handles, place.path)
    if (handle === undefined) return undefined
    const bytes = new Uint8Array(length)
    const { bytesRead } = await handle.read(bytes, 0, length, place.offset)
    return bytesRead === length ? bytes : undefined
  }

  async #open(handles: Map<string, FileHandle | undefined>, path: string): Promise<FileHandle | undefined> {
    if (handles.has(path)) return handles.get(path)
    if (handles.size >= MAX_OPEN) {
      const [oldest] = handles.keys()
      await handles.get(oldest as string)?.close()
      handles.delete(oldest as string)
    }
    let handle: FileHandle | undefined
    try {
      handle = await this.#fs.open(path, 'r')
    } catch (error) {
      if (!isMissing(error)) throw error
    }
    handles.set(path, handle)
    return handle
  }
}

/** Bytes of a file that no seed and no earlier piece of it has: what will be fetched. */
export function missingFrom(seeds: Seeds, chunks: readonly Chunk[]): number {
  let bytes = 0
  for (const chunk of chunks) if (chunk.sha256 === undefined || !seeds.has(chunk.sha256)) bytes += chunk.length
  return bytes
}

import { utf8Encode } from '@keyturn/primitives'
import { appendEntries, seedNoteSigner, signCheckpoint, tilePath } from '../../src/index.ts'
import type { NoteSigner, Tile, TileSource } from '../../src/index.ts'

/** Entry number `n` of every log in these tests. */
export const entry = (n: number): Uint8Array => utf8Encode(`entry ${n}\n`)

/** A log in memory that keeps every tile it ever had. */
export class MemoryLog implements TileSource {
  readonly files = new Map<string, Uint8Array>()
  readonly signer: NoteSigner
  size = 0
  root: Uint8Array = new Uint8Array(32)

  constructor(name = 'log.example/one', seed = 1) {
    this.signer = seedNoteSigner(name, 'note', new Uint8Array(32).fill(seed))
  }

  read(tile: Tile): Promise<Uint8Array> {
    const bytes = this.files.get(tilePath(tile))
    return bytes === undefined ? Promise.reject(new Error(`no ${tilePath(tile)}`)) : Promise.resolve(bytes)
  }

  /** Appends entries and answers with the new checkpoint. */
  async append(entries: readonly Uint8Array[]): Promise<Uint8Array> {
    const grown = await appendEntries(this, this.size, entries)
    for (const tile of grown.tiles) this.files.set(tilePath(tile), tile.bytes)
    this.size = grown.size
    this.root = grown.root
    return await signCheckpoint(grown, this.signer)
  }
}

/** Numbers from `start` to `end`, not included. */
export const range = (start: number, end: number): number[] =>
  Array.from({ length: end - start }, (_, at) => start + at)

import { concatBytes } from '@keyturn/primitives'
import { formatEntries, parseEntries } from './entries.ts'
import { TlogError } from './errors.ts'
import { MAX_TREE_SIZE, TILE_WIDTH } from './limits.ts'
import { EMPTY_ROOT, hashChildren, hashLeaf } from './merkle.ts'
import { levelWidth, newTiles, splitTile, tileAt, tilePath } from './tile.ts'
import type { Tile } from './tile.ts'

/** Where the tiles of a log come from: a folder, a server, memory. */
export interface TileSource {
  /**
   * Reads a tile or a bundle of entries. A source may answer with a wider one of the same index, whose start is the
   * same.
   *
   * @throws when there is none.
   */
  read(tile: Tile): Promise<Uint8Array>
}

/** The tiles of one tree while something is computed from them: each is read once. */
class Tiles {
  readonly #source: TileSource
  readonly #size: number
  readonly #read = new Map<string, Promise<Uint8Array[]>>()

  constructor(source: TileSource, size: number) {
    this.#source = source
    this.#size = size
  }

  async #tile(level: number, index: number): Promise<Uint8Array[]> {
    const tile = tileAt(level, index, this.#size)
    if (tile === undefined) throw new RangeError(`A tree of ${this.#size} leaves has no tile ${level}/${index}`)
    const name = tilePath(tile)
    let reading = this.#read.get(name)
    if (reading === undefined) {
      reading = this.#source.read(tile).then((bytes) => splitTile(tile, bytes.subarray(0, tile.width * 32)))
      this.#read.set(name, reading)
    }
    return await reading
  }

  /** Hash of the whole subtree of 2^level leaves at a place. */
  async node(level: number, place: number): Promise<Uint8Array> {
    const row = Math.floor(level / 8)
    const count = 2 ** (level % 8)
    const first = place * count
    const hashes = await this.#tile(row, Math.floor(first / TILE_WIDTH))
    let nodes = hashes.slice(first % TILE_WIDTH, (first % TILE_WIDTH) + count)
    while (nodes.length > 1) nodes = pairs(nodes)
    return nodes[0] as Uint8Array
  }

  /** Hash of the leaves from `start` to `end`, not included, RFC 6962 §2.1. */
  async range(start: number, end: number): Promise<Uint8Array> {
    const count = end - start
    const level = Math.log2(largestPower(count))
    if (2 ** level === count) return await this.node(level, start / count)
    const middle = start + 2 ** level
    return hashChildren(await this.range(start, middle), await this.range(middle, end))
  }
}

function pairs(nodes: readonly Uint8Array[]): Uint8Array[] {
  return Array.from({ length: nodes.length / 2 }, (_, at) =>
    hashChildren(nodes[at * 2] as Uint8Array, nodes[at * 2 + 1] as Uint8Array),
  )
}

/** Largest power of two that is not above a number. */
function largestPower(count: number): number {
  let power = 1
  while (power * 2 <= count) power *= 2
  return power
}

/** Where a range of more than one leaf is split: the largest power of two below its length. */
function splitAt(start: number, end: number): number {
  const power = largestPower(end - start)
  return start + (power === end - start ? power / 2 : power)
}

/** Root hash of the tree of the first `size` entries. The tiles are taken as they are: see {@link proveInclusion}. */
export async function treeRoot(source: TileSource, size: number): Promise<Uint8Array> {
  return size === 0 ? EMPTY_ROOT : await new Tiles(source, size).range(0, size)
}

/**
 * The proof that entry `index` is in the tree of the first `size` entries, RFC 6962 §2.1.1. Tiles are taken as they
 * are: the reader of the proof verifies it, so false tiles only make a proof that fails.
 *
 * @throws RangeError for an index outside the tree.
 */
export async function proveInclusion(source: TileSource, index: number, size: number): Promise<Uint8Array[]> {
  if (!(index >= 0 && index < size)) throw new RangeError(`Entry ${index} is not in a tree of ${size} entries`)
  const tiles = new Tiles(source, size)
  const proof: Uint8Array[] = []
  let [start, end] = [0, size]
  while (end - start > 1) {
    const middle = splitAt(start, end)
    if (index < middle) {
      proof.push(await tiles.range(middle, end))
      end = middle
    } else {
      proof.push(await tiles.range(start, middle))
      start = middle
    }
  }
  return proof.toReversed()
}

/**
 * The proof that the tree of `to` entries contains that of the first `from` entries, RFC 6962 §2.1.2.
 *
 * @throws RangeError unless 0 ≤ from ≤ to.
 */
export async function proveConsistency(source: TileSource, from: number, to: number): Promise<Uint8Array[]> {
  if (!(from >= 0 && from <= to)) throw new RangeError(`No proof leads from ${from} to ${to} entries`)
  if (from === 0 || from === to) return []
  const tiles = new Tiles(source, to)
  const proof: Uint8Array[] = []
  let [start, end, whole] = [0, to, true]
  while (from !== end) {
    const middle = splitAt(start, end)
    if (from <= middle) {
      proof.push(await tiles.range(middle, end))
      end = middle
    } else {
      proof.push(await tiles.range(start, middle))
      start = middle
      whole = false
    }
  }
  if (!whole) proof.push(await tiles.range(start, end))
  return proof.toReversed()
}

/** A tile with its bytes. */
export interface TileBytes extends Tile {
  /** Hashes, or length-prefixed entries. */
  readonly bytes: Uint8Array
}

/** A tree after entries were appended. */
export interface GrownTree {
  /** Leaves. */
  readonly size: number
  /** Root hash, 32 bytes. */
  readonly root: Uint8Array
  /** What has to be stored before a checkpoint of this size may be signed. Older tiles are unchanged. */
  readonly tiles: readonly TileBytes[]
}

/** The start of a tile that is extended: what it held before. */
async function oldPart(source: TileSource, { level, index }: Tile, size: number): Promise<Uint8Array> {
  const old = tileAt(level, index, size)
  if (old === undefined) return new Uint8Array(0)
  const bytes = await source.read(old)
  if (level !== 'entries') return bytes.subarray(0, old.width * 32)
  return formatEntries(parseEntries(old, bytes))
}

/**
 * Appends entries to a log: computes its new tiles and root. Nothing is stored; signing and storing are up to the
 * caller.
 *
 * @param source - The tiles of the tree so far.
 * @param size - Its size.
 * @param entries - Bytes of each new entry, at most 65,535 each.
 */
export async function appendEntries(
  source: TileSource,
  size: number,
  entries: readonly Uint8Array[],
): Promise<GrownTree> {
  const grown = size + entries.length
  if (grown > MAX_TREE_SIZE) throw new TlogError('TLOG_LIMIT', `A log of ${size} entries cannot grow any more`)
  const made = new Map<string, Uint8Array>()
  const mixed: TileSource = {
    read: async (tile) => made.get(tilePath(tile)) ?? (await source.read(tile)),
  }
  const tiles: TileBytes[] = []
  let level = -1
  let added: Uint8Array[] = []
  for (const tile of newTiles(size, grown)) {
    const numeric = tile.level === 'entries' ? 0 : tile.level
    if (tile.level !== 'entries' && tile.level !== level) {
      level = tile.level
      added = await newHashes({ level, size, grown }, entries, mixed)
    }
    const first = levelWidth(numeric, size)
    const from = Math.max(tile.index * TILE_WIDTH, first) - first
    const to = tile.index * TILE_WIDTH + tile.width - first
    const fresh =
      tile.level === 'entries' ? formatEntries(entries.slice(from, to)) : concatBytes(...added.slice(from, to))
    const bytes = concatBytes(await oldPart(source, tile, size), fresh)
    made.set(tilePath(tile), bytes)
    tiles.push({ ...tile, bytes })
  }
  return { size: grown, root: await treeRoot(mixed, grown), tiles }
}

/** The hashes that a level of tiles gains: of leaves, or of the tiles below that became full. */
async function newHashes(
  { level, size, grown }: { readonly level: number; readonly size: number; readonly grown: number },
  entries: readonly Uint8Array[],
  source: TileSource,
): Promise<Uint8Array[]> {
  if (level === 0) return entries.map((entry) => hashLeaf(entry))
  const hashes: Uint8Array[] = []
  for (let index = levelWidth(level, size); index < levelWidth(level, grown); index++) {
    const tile: Tile = { level: level - 1, index, width: TILE_WIDTH }
    let nodes = splitTile(tile, await source.read(tile))
    while (nodes.length > 1) nodes = pairs(nodes)
    hashes.push(nodes[0] as Uint8Array)
  }
  return hashes
}

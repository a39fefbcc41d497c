import { TlogError } from './errors.ts'
import { MAX_TILE_LEVEL, MAX_TREE_SIZE, TILE_WIDTH } from './limits.ts'
import { HASH_LENGTH, quoted } from './text.ts'

/** A run of consecutive hashes of one level, or of entries, c2sp.org/tlog-tiles. */
export interface Tile {
  /** Level of tiles, 0 for the hashes of leaves; `entries` for a bundle of entries. */
  readonly level: number | 'entries'
  /** Place among the tiles of its level. */
  readonly index: number
  /** Hashes or entries in it, 1 to 256; below 256 it is partial. */
  readonly width: number
}

function indexPath(index: number): string {
  const digits = String(index)
  const groups = digits.padStart(Math.ceil(digits.length / 3) * 3, '0').match(/[0-9]{3}/g) as string[]
  return groups.map((group, at) => (at < groups.length - 1 ? `x${group}` : group)).join('/')
}

/** Path of a tile below the prefix of its log: `tile/0/x001/x234/067.p/8`. */
export function tilePath({ level, index, width }: Tile): string {
  return `tile/${level}/${indexPath(index)}${width < TILE_WIDTH ? `.p/${width}` : ''}`
}

/**
 * Reads the path of a tile; exactly one path per tile is accepted.
 *
 * @throws {@link TlogError} `TLOG_TILE`.
 */
export function parseTilePath(path: string): Tile {
  const parts = /^tile\/(entries|[0-9]{1,2})\/((?:x[0-9]{3}\/){0,5}[0-9]{3})(?:\.p\/([1-9][0-9]{0,2}))?$/.exec(path)
  const tile: Tile | undefined =
    parts === null
      ? undefined
      : {
          level: parts[1] === 'entries' ? 'entries' : Number(parts[1]),
          index: Number((parts[2] as string).replace(/[x/]/g, '')),
          width: parts[3] === undefined ? TILE_WIDTH : Number(parts[3]),
        }
  const fits =
    tile !== undefined && tile.width <= TILE_WIDTH && tile.index <= MAX_TREE_SIZE && levelOf(tile) <= MAX_TILE_LEVEL
  if (!fits || tilePath(tile) !== path) throw new TlogError('TLOG_TILE', `Cannot read path of a tile: ${quoted(path)}`)
  return tile
}

function levelOf({ level }: Tile): number {
  return level === 'entries' ? 0 : level
}

/** Hashes that a level of tiles has in a tree: one for each full tile of the level below. */
export function levelWidth(level: number, size: number): number {
  return Math.floor(size / TILE_WIDTH ** level)
}

/**
 * The tile of an index as a tree of a given size has it.
 *
 * @returns `undefined` when the tree has no such tile.
 */
export function tileAt(level: number | 'entries', index: number, size: number): Tile | undefined {
  const width = Math.min(TILE_WIDTH, levelWidth(level === 'entries' ? 0 : level, size) - index * TILE_WIDTH)
  return width > 0 ? { level, index, width } : undefined
}

/**
 * Every tile and bundle that a tree has and a smaller one does not have in this form.
 *
 * @param from - Size of the smaller tree, 0 for none.
 */
export function newTiles(from: number, to: number): Tile[] {
  const tiles: Tile[] = []
  const add = (level: number | 'entries', numeric: number): void => {
    const [old, now] = [levelWidth(numeric, from), levelWidth(numeric, to)]
    if (now === old) return
    for (let index = Math.floor(old / TILE_WIDTH); index * TILE_WIDTH < now; index++) {
      tiles.push(tileAt(level, index, to) as Tile)
    }
  }
  add('entries', 0)
  for (let level = 0; levelWidth(level, to) > 0; level++) add(level, level)
  return tiles
}

/** Splits the bytes of a tile into its hashes; the result are views.
 *
 * @throws {@link TlogError} `TLOG_TILE` for another length than the width says.
 */
export function splitTile(tile: Tile, bytes: Uint8Array): Uint8Array[] {
  if (bytes.length !== tile.width * HASH_LENGTH) {
    throw new TlogError(
      'TLOG_TILE',
      `Tile ${tilePath(tile)} has ${bytes.length} bytes, expected ${tile.width * HASH_LENGTH}`,
    )
  }
  return Array.from({ length: tile.width }, (_, at) => bytes.subarray(at * HASH_LENGTH, (at + 1) * HASH_LENGTH))
}

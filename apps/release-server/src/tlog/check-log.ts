import { formatLogEntry } from '@keyturn/manifest/publish'
import { equalBytes, utf8Decode } from '@keyturn/primitives'
import {
  hashChildren,
  hashLeaf,
  parseEntries,
  parseVerifierKey,
  splitTile,
  TILE_WIDTH,
  tileAt,
  tilePath,
  treeRoot,
  verifyCheckpoint,
} from '@keyturn/tlog'
import type { Tile, TileSource } from '@keyturn/tlog'
import { documents } from '../public/documents.ts'
import type { MetadataStore } from '../storage/metadata-store.ts'
import { products } from '../releases/products.ts'
import { releases } from '../releases/releases.ts'
import { logDocument, logStates, placeOf, proofDocument, storedTiles } from './log-store.ts'

/**
 * Compares the log of every product with its signed checkpoint: the entries that are stored give the tiles that are
 * stored, and these the root that the log has signed.
 */
export async function findLogDamage(metadata: MetadataStore): Promise<string[]> {
  const found: string[] = []
  for (const { key: product, value } of await logStates.all(metadata)) {
    const say = (message: string): void => void found.push(`The log of ${product} is damaged: ${message}`)
    try {
      const bytes = await documents.body(metadata, logDocument(product, 'checkpoint'))
      if (bytes === undefined) {
        say('it has no checkpoint')
        continue
      }
      const { size, root } = verifyCheckpoint(bytes, parseVerifierKey(value.vkey))
      if (size !== value.size) say(`it has ${value.size} entries, its checkpoint is of ${size}`)
      const source = storedTiles(metadata, product)
      const wrong = await findWrongTile(source, size)
      if (wrong !== undefined) say(`${wrong} is not made from what is below it`)
      else if (!equalBytes(await treeRoot(source, size), root)) say('its tiles do not give the root of its checkpoint')
    } catch (error) {
      say(error instanceof Error ? error.message : String(error))
    }
  }
  return [...found, ...(await findLostDocuments(metadata))]
}

/** Documents of a log without its state, its key, and proofs of releases that are in it. */
async function findLostDocuments(metadata: MetadataStore): Promise<string[]> {
  const found: string[] = []
  for (const { key: product } of await products.all(metadata)) {
    const state = await logStates.get(metadata, product)
    const hasTiles = (await documents.list(metadata, { prefix: logDocument(product, 'tile/'), limit: 1 })).length > 0
    if (state === undefined && hasTiles) found.push(`The log of ${product} has no state`)
    if (state === undefined) continue
    const key = await documents.body(metadata, logDocument(product, 'key'))
    if (key === undefined || utf8Decode(key).trim() !== state.vkey)
      found.push(`The key of the log of ${product} is lost`)
    for (const { value } of await releases.all(metadata, { prefix: `${product}/` })) {
      const { channel, version, sequence: number, sha256 } = value
      const entry = formatLogEntry({ type: 'release', product, channel, number, sha256 })
      if ((await placeOf(metadata, product, entry)) === undefined) continue
      if ((await documents.get(metadata, proofDocument(product, channel, version))) === undefined)
        found.push(`The proof of ${product}/${channel}/${version} is lost`)
    }
  }
  return found
}

/** The path of the first tile that is not what the tiles below it give; undefined when all are. */
async function findWrongTile(source: TileSource, size: number): Promise<string | undefined> {
  for (let index = 0; ; index += 1) {
    const tile = tileAt(0, index, size)
    if (tile === undefined) break
    const bundle = { ...tile, level: 'entries' } as const
    const entries = parseEntries(bundle, await source.read(bundle))
    const hashes = await hashesOf(source, tile)
    if (!hashes.every((hash, at) => equalBytes(hash, hashLeaf(entries[at] ?? new Uint8Array())))) return tilePath(tile)
  }
  for (let level = 1; tileAt(level, 0, size) !== undefined; level += 1)
    for (let index = 0; ; index += 1) {
      const tile = tileAt(level, index, size)
      if (tile === undefined) break
      for (const [at, hash] of (await hashesOf(source, tile)).entries()) {
        const below = await hashesOf(source, { level: level - 1, index: index * TILE_WIDTH + at, width: TILE_WIDTH })
        if (!equalBytes(hash, rootOf(below))) return tilePath(tile)
      }
    }
  return undefined
}

async function hashesOf(source: TileSource, tile: Tile): Promise<Uint8Array[]> {
  return splitTile(tile, (await source.read(tile)).subarray(0, tile.width * 32))
}

/** Of a whole tile: 256 hashes. */
function rootOf(hashes: readonly Uint8Array[]): Uint8Array {
  let row = [...hashes]
  while (row.length > 1)
    row = Array.from({ length: row.length / 2 }, (_, at) =>
      hashChildren(row[2 * at] as Uint8Array, row[2 * at + 1] as Uint8Array),
    )
  return row[0] as Uint8Array
}

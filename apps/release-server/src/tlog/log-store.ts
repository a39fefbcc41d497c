import { hashLeaf, TILE_WIDTH, tilePath } from '@keyturn/tlog'
import type { GrownTree, TileSource } from '@keyturn/tlog'
import { hexEncode } from '@keyturn/primitives'
import { documentKey, documentRecord, documents } from '../public/documents.ts'
import { collection } from '../storage/collection.ts'
import type { RecordReader, RecordWriter } from '../storage/metadata-store.ts'
import { listOf, mapOf, object, preset, text, whole } from '../storage/shape.ts'

/** How far the log of a product is. */
export interface LogState {
  /** Entries. */
  readonly size: number
  /** Its key, in the one-line form; the name is the origin. */
  readonly vkey: string
  /** The size that each witness has signed last, by its name. */
  readonly witnessed: Readonly<Record<string, number>>
  /** Why nothing is appended; empty when nothing is wrong. */
  readonly problem: string
  /** Origins under which the log was known before. */
  readonly former: readonly string[]
}

/** States of logs, by product. */
export const logStates = collection(
  'release-logs',
  object<LogState>({
    size: whole,
    vkey: text,
    witnessed: mapOf(whole),
    problem: text,
    former: preset(listOf(text), []),
  }),
)

/** Where an entry is in its log, by product and hash of the leaf. */
const places = collection('release-log-places', object<{ readonly index: number }>({ index: whole }))

/** Releases whose proof lacks signatures of witnesses: `<product>/<channel>/<version>`. */
export const unproved = collection('release-log-unproved', object<{ readonly index: number }>({ index: whole }))

/** Lock of everything that changes the log of a product, across all replicas. */
export function logLock(product: string): string {
  return `release-log:${product}`
}

/** Key of a document of the log in the public tree. */
export function logDocument(product: string, name: string): string {
  return documentKey(product, undefined, `log/${name}`)
}

/** Key of the proof of a release. */
export function proofDocument(product: string, channel: string, version: string): string {
  return documentKey(product, channel, `manifests/${version}.tlog-proof`)
}

/** The tiles of a product's log, as they are stored. */
export function storedTiles(records: RecordReader, product: string): TileSource {
  return {
    read: async (tile) => {
      const exact = await documents.body(records, logDocument(product, tilePath(tile)))
      const bytes =
        exact ?? (await documents.body(records, logDocument(product, tilePath({ ...tile, width: TILE_WIDTH }))))
      if (bytes === undefined) throw new Error(`The log of ${product} has no ${tilePath(tile)}`)
      return bytes
    },
  }
}

/** The place of an entry; `undefined` when the log does not have it. */
export async function placeOf(records: RecordReader, product: string, entry: Uint8Array): Promise<number | undefined> {
  return (await places.get(records, `${product}/${hexEncode(hashLeaf(entry))}`))?.index
}

/** Stores new tiles and the places of new entries; partial tiles go once the full one is there. */
export async function storeGrown(
  records: RecordWriter,
  product: string,
  { size, tiles }: GrownTree,
  entries: readonly Uint8Array[],
): Promise<void> {
  const first = size - entries.length
  await documents.put(records, ...tiles.map((tile) => documentRecord(logDocument(product, tilePath(tile)), tile.bytes)))
  for (const tile of tiles.filter(({ width }) => width === TILE_WIDTH)) {
    const partial = await documents.all(records, { prefix: logDocument(product, `${tilePath(tile)}.p/`) })
    await documents.delete(records, ...partial.map(({ key }) => key))
  }
  await places.put(
    records,
    ...entries.map((entry, at) => ({ key: `${product}/${hexEncode(hashLeaf(entry))}`, value: { index: first + at } })),
  )
}

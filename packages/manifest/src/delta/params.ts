import type { PieceLengths } from '@keyturn/primitives'

const KIB = 1024

/** One way to cut a blob into chunks. A released set never changes: the indexes of two releases have to meet. */
export interface ChunkParams extends PieceLengths {
  /** Number of the set, as indexes and manifests name it. */
  readonly id: number
  /** Neighbouring pieces shorter than this share a chunk; bounds the size of an index. */
  readonly groupBytes: number
}

/** The released parameter sets. */
export const chunkParams: ReadonlyMap<number, ChunkParams> = new Map([
  [1, { id: 1, minBytes: 16 * KIB, averageBytes: 64 * KIB, maxBytes: 256 * KIB, groupBytes: 2 * KIB }],
  [2, { id: 2, minBytes: 64 * KIB, averageBytes: 256 * KIB, maxBytes: 1024 * KIB, groupBytes: 2 * KIB }],
])

/** Blobs below this size have no index: fetching one would cost more than it saves. */
export const MIN_INDEXED_BYTES = 256 * KIB
const LARGE_BLOB_BYTES = 2 * 1024 * 1024 * KIB

/** The parameter set for a blob of a size, or undefined when it is too small for an index. */
export function chunkParamsFor(blobBytes: number): ChunkParams | undefined {
  if (blobBytes < MIN_INDEXED_BYTES) return undefined
  return chunkParams.get(blobBytes > LARGE_BLOB_BYTES ? 2 : 1)
}

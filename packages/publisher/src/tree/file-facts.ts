import { ChunkIndexer, chunkParamsFor, writeChunkIndex } from '@keyturn/manifest/delta'
import { hexEncode } from '@keyturn/primitives'
import type { TreeFile } from './tree.ts'
import { hashFile, readInPieces } from './tree.ts'

/** A chunk index and what the manifest says about it. */
export interface FileIndex {
  readonly bytes: Uint8Array
  readonly chunks: number
  readonly params: number
}

/** What a release manifest says about a file. */
export interface FileFacts {
  readonly sha256: string
  /** For delta downloads and uploads; undefined for small files. */
  readonly index: FileIndex | undefined
}

/**
 * Hashes a file, and cuts it into chunks in the same pass when it is large enough for an index.
 *
 * @param file - In the release tree.
 * @param cuts - Offsets at which its pieces start, ascending; none when nothing is known of it.
 * @param signal - Stops between two pieces.
 * @throws {@link PublisherError} `BUILD_INPUT_CHANGED`.
 */
export async function describeFile(file: TreeFile, cuts: readonly number[], signal: AbortSignal): Promise<FileFacts> {
  const params = chunkParamsFor(file.size)
  if (params === undefined) return { sha256: await hashFile(file, signal), index: undefined }
  const indexer = new ChunkIndexer(params, cuts)
  await readInPieces(file, (piece) => void indexer.update(piece), signal)
  const index = indexer.finish()
  return {
    sha256: hexEncode(index.blobSha256),
    index: { bytes: writeChunkIndex(index), chunks: index.lengths.length, params: params.id },
  }
}

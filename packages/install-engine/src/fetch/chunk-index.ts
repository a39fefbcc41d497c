import { join } from 'node:path'
import { ChunkIndexer, chunkParamsFor, parseChunkIndex } from '@keyturn/manifest/delta'
import type { ManifestFile } from '@keyturn/manifest'
import type { ChunkIndex } from '@keyturn/manifest/delta'
import { hexEncode, KeyturnError } from '@keyturn/primitives'
import { READ_SIZE, readSmallFile, removeFile, writeSmallFile } from '../disk/disk.ts'
import { fetchSmallBlob } from './download.ts'
import type { DownloadContext } from './download.ts'
import type { Layout } from '../disk/layout.ts'
import type { Chunk } from './part-file.ts'

/** An index names at most this many bytes of itself. */
const MAX_INDEX_BYTES = 16 * 1024 * 1024

function toChunks({ lengths, digests }: ChunkIndex): Chunk[] {
  const chunks: Chunk[] = []
  let offset = 0
  for (const [index, length] of lengths.entries()) {
    chunks.push({ offset, length, sha256: hexEncode(digests.subarray(index * 32, index * 32 + 32)) })
    offset += length
  }
  return chunks
}

function parse(bytes: Uint8Array, file: ManifestFile): Chunk[] | undefined {
  if (file.index === undefined) return undefined
  return toChunks(parseChunkIndex(bytes, { blobSha256: file.sha256, blobBytes: file.size, reference: file.index }))
}

/** The pieces of a file whose index is kept here. A damaged index is removed. */
export async function knownIndex(
  context: DownloadContext,
  layout: Layout,
  file: ManifestFile,
): Promise<readonly Chunk[] | undefined> {
  if (file.index === undefined) return undefined
  const path = join(layout.index, file.index.sha256)
  const bytes = await readSmallFile(context.fs, path, MAX_INDEX_BYTES)
  if (bytes === undefined) return undefined
  try {
    return parse(bytes, file)
  } catch (error) {
    if (!(error instanceof KeyturnError)) throw error
    await removeFile(context.fs, path)
    return undefined
  }
}

/**
 * Fetches and keeps the index of a file; without one the file comes whole, so nothing that is wrong with it is worse
 * than a longer download.
 */
export async function fetchIndex(
  context: DownloadContext,
  layout: Layout,
  file: ManifestFile,
): Promise<readonly Chunk[] | undefined> {
  if (file.index === undefined || file.index.size > MAX_INDEX_BYTES) return undefined
  try {
    context.meter.expect({ download: file.index.size })
    const bytes = await fetchSmallBlob(context, { sha256: file.index.sha256, size: file.index.size })
    const chunks = parse(bytes, file)
    await writeSmallFile(context.fs, join(layout.index, file.index.sha256), bytes)
    return chunks
  } catch (error) {
    context.signal.throwIfAborted()
    if (!(error instanceof KeyturnError)) throw error
    return undefined
  }
}

/** Cuts an installed file here when its index is neither stored nor fetched: worse cuts, but better than none. */
export async function cutLocally(
  context: DownloadContext,
  path: string,
  size: number,
): Promise<readonly Chunk[] | undefined> {
  const params = chunkParamsFor(size)
  if (params === undefined) return undefined
  const indexer = new ChunkIndexer(params, [])
  const handle = await context.fs.open(path, 'r')
  try {
    const buffer = new Uint8Array(READ_SIZE)
    for (let position = 0; ;) {
      context.signal.throwIfAborted()
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, position)
      if (bytesRead === 0) return toChunks(indexer.finish())
      indexer.update(buffer.subarray(0, bytesRead))
      position += bytesRead
    }
  } finally {
    await handle.close()
  }
}

import type { BlobStore, ByteStream, Piece } from './blob-store.ts'

/** The bytes of pieces, one after the other. */
export async function* bytesOf(store: Pick<BlobStore, 'read'>, pieces: readonly Piece[]): ByteStream {
  for (const { sha256, start, length } of pieces) yield* await store.read(sha256, { start, end: start + length - 1 })
}

import type { BlobSource, UploadOptions } from './blob-source.ts'
import type { HttpCaller } from './http.ts'
import { API_LIMITS } from './limits.ts'
import { ProblemError } from './problem-error.ts'

/** Bytes of a blob that the server has. */
export interface BlobPiece {
  /** SHA-256 of that blob, 64 lower-case hex digits. */
  readonly sha256: string
  /** First byte. */
  readonly start: number
  /** Bytes, one at least. */
  readonly length: number
}

/** See `ReleaseServerClient.assembleBlob`. */
export async function assembleBlob(
  http: HttpCaller,
  { sha256, size }: Pick<BlobSource, 'sha256' | 'size'>,
  pieces: readonly BlobPiece[],
  { signal }: Pick<UploadOptions, 'signal'>,
): Promise<boolean> {
  const sources = [...new Set(pieces.map((piece) => piece.sha256))]
  if (pieces.length > API_LIMITS.maxAssemblyPieces || sources.length > API_LIMITS.maxAssemblySources) return false
  const numbers = new Map(sources.map((source, number) => [source, number]))
  try {
    await http.send({
      method: 'POST',
      path: `/v1/blobs/${sha256}:assemble`,
      what: `assemble blob ${sha256}`,
      json: {
        size,
        sources,
        pieces: pieces.flatMap(({ sha256: source, start, length }) => [numbers.get(source) as number, start, length]),
      },
      signal,
    })
    return true
  } catch (error) {
    // An older server has no such address; that a source is gone is an answer of a newer one.
    const isOlder = error instanceof ProblemError && error.status === 404 && error.code !== 'BLOB_UNKNOWN'
    if (isOlder) return false
    throw error
  }
}

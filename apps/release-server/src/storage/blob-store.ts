/** What a store knows about one blob. */
export interface BlobInfo {
  readonly sha256: string
  readonly size: number
  /** Milliseconds since the epoch of the last write. */
  readonly writtenMs: number
}

/** First and last byte, both included. */
export interface ByteRange {
  readonly start: number
  readonly end: number
}

/** Bytes as they arrive. */
export type ByteStream = AsyncIterable<Uint8Array>

/** Limits of one write. */
export interface PutOptions {
  /** Exact size; any other is `UP_LENGTH`. Without it any size up to `maxBytes`. */
  readonly size?: number | undefined
  readonly maxBytes?: number | undefined
}

/** Bytes of a blob that is stored. */
export interface Piece {
  readonly sha256: string
  /** First byte. */
  readonly start: number
  /** Bytes, one at least. */
  readonly length: number
}

/** Addresses for an upload that bypasses the server, straight into the storage. */
export interface PresignedUpload {
  readonly uploadId: string
  readonly partBytes: number
  readonly urls: readonly string[]
  readonly expiresAt: string
}

/**
 * Content-addressed bytes. A blob is stored completely under its SHA-256 or not at all: everything written is hashed on
 * the way and becomes visible, durably, only when the hash is right. Every name passed to a store has been checked with
 * {@link isBlobName}; stores check again.
 */
export interface BlobStore {
  /** Where blobs are stored, for views: `folder`, `s3`. */
  readonly kind: string
  /** Looks a blob up; `undefined` when it is not stored. */
  stat(sha256: string): Promise<BlobInfo | undefined>
  /** Reads a blob or a range of it; `BLOB_UNKNOWN` when it is not stored. The stream must be read or returned. */
  read(sha256: string, range?: ByteRange): Promise<ByteStream>
  /** Writes a blob; `UP_HASH`, `UP_LENGTH`, `UP_DISK_FULL` leave nothing. It is durable once this resolves. */
  put(sha256: string, source: ByteStream, options?: PutOptions): Promise<BlobInfo>
  /**
   * As {@link BlobStore.put}, of pieces of stored blobs: by copies of the storage where it has them, else the bytes go
   * through this process. The hash of what was put together decides.
   */
  assemble(sha256: string, size: number, pieces: readonly Piece[]): Promise<BlobInfo>
  /** Removes a blob; nothing happens when it is not stored. */
  delete(sha256: string): Promise<void>
  /** Sets a damaged blob aside: readers no longer see it, and somebody can look at it. */
  quarantine(sha256: string): Promise<void>
  /** All blobs, in order of their names. */
  list(): AsyncIterable<BlobInfo>
  /**
   * Adds bytes to a resumable upload at `offset` (bytes beyond it, of a write that died, are dropped first) and returns
   * the offset that is durable afterwards, also when the source breaks off.
   */
  append(uploadId: string, offset: number, source: ByteStream, maxBytes: number): Promise<number>
  /** Makes a blob of a complete upload; `UP_HASH` drops it. */
  finish(uploadId: string, sha256: string, size: number): Promise<BlobInfo>
  /** Drops an upload. */
  discard(uploadId: string): Promise<void>
  /** Ids of uploads that have bytes in the store, for the sweep. */
  listUploads(): AsyncIterable<{ id: string; writtenMs: number }>
  /** Path of a blob on the local disk, where it has one, for the proxy to send. */
  localPath?(sha256: string): string
  /** Starts an upload that goes straight to the storage. */
  presign?(sha256: string, size: number): Promise<PresignedUpload>
  /** Ends such an upload: the parts, named by the tags in their answers, are joined, read back and hashed. */
  completePresigned?(sha256: string, size: number, uploadId: string, etags: readonly string[]): Promise<BlobInfo>
  /** Ends such an upload without a blob, and drops its parts; nothing happens when there is none. */
  abortPresigned?(uploadId: string): Promise<void>
  /** Makes the file of a blob that has none at the moment, for {@link localPath}. */
  warm?(sha256: string): Promise<void>
  /**
   * Stores a blob as the chunks of its index instead of whole; returns the bytes that this frees, undefined when it
   * stays as it is. Its bytes can be read as before.
   */
  cool?(sha256: string, index: Uint8Array): Promise<number | undefined>
  /** Removes chunks that nothing is made of any more; returns how many. */
  sweepChunks?(olderThanMs: number): Promise<number>
  /** Removes leftovers of writes that died. */
  sweep(olderThanMs: number): Promise<void>
  /** Free bytes, where the storage reports them. */
  freeBytes?(): Promise<number>
  /** Throws when the store cannot be used at the moment. */
  ping(): Promise<void>
  close(): Promise<void>
}

const BLOB_NAME = /^[0-9a-f]{64}$/

/** Whether `text` names a blob: 64 lower-case hexadecimal digits. */
export function isBlobName(text: string): boolean {
  return text.length === 64 && BLOB_NAME.test(text)
}

const UPLOAD_NAME = /^[A-Za-z0-9_-]{16,64}$/

/** Whether `text` names a resumable upload. */
export function isUploadName(text: string): boolean {
  return UPLOAD_NAME.test(text)
}

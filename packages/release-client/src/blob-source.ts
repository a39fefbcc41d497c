/** Bytes to upload, read when they are needed. */
export interface BlobSource {
  /** SHA-256 of all bytes, 64 lower-case hex digits. */
  readonly sha256: string
  readonly size: number
  /** Reads exactly `length` bytes from `offset`. */
  read(offset: number, length: number): Promise<Uint8Array>
}

/** Options of uploads. */
export interface UploadOptions {
  /** Uploads that run at the same time; default 4. In the place of one, up to 8 blobs of at most 64 KiB run. */
  readonly concurrency?: number | undefined
  /** Whether large blobs go straight into the storage of the server where it offers that; default true. */
  readonly direct?: boolean | undefined
  /** Called with the bytes sent since the last call; negative for bytes that have to be sent again. */
  readonly onProgress?: ((bytes: number) => void) | undefined
  readonly signal?: AbortSignal | undefined
}

/**
 * A zstd library. Both functions are for one frame; what comes out is checked by the caller, so a codec may throw
 * anything on bad input.
 */
export interface ZstdCodec {
  /** Resolves once the codec can be used. */
  ready(): Promise<void>
  /**
   * Compresses into one frame with the content size in it, no checksum, a window of at most 8 MiB. Good until the next
   * call.
   */
  compress(bytes: Uint8Array, level: number): Uint8Array
  /** Decompresses a frame that is expected to give `size` bytes, never many more; into `out` where that can be used. */
  decompress(frame: Uint8Array, size: number, out?: Uint8Array): Uint8Array
}

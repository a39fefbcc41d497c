/** A `WebAssembly.Module`, which projects without the types of browsers have no name for. */
export type CompiledModule = object

/**
 * Where `dist/web/zstd.wasm` of `@bokuweb/zstd-wasm` is: its address, a compiled module (workers of Cloudflare allow
 * nothing else), or its bytes.
 */
export type ZstdSource =
  | { readonly url: string | URL; readonly module?: undefined; readonly bytes?: undefined }
  | { readonly module: CompiledModule; readonly url?: undefined; readonly bytes?: undefined }
  | { readonly bytes: Uint8Array; readonly url?: undefined; readonly module?: undefined }

/** Options of every call that may have to load zstd. */
export interface ZstdOptions {
  /**
   * Where zstd comes from, in runtimes that have none built in; ignored in the others. The first call that needs zstd
   * loads it, and later ones use the same. Default: where the bundler put it, beside the code.
   */
  readonly zstd?: ZstdSource | undefined
}

/**
 * A zstd library. Both functions are for one frame; what comes out is checked by the caller, so a codec may throw
 * anything on bad input.
 */
export interface ZstdCodec extends ZstdFunctions {
  /** Resolves once the codec can be used. */
  ready(source?: ZstdSource): Promise<void>
}

/** A codec that is loaded. */
export interface ZstdFunctions {
  /**
   * Compresses into one frame with the content size in it, no checksum, a window of at most 8 MiB. Good until the next
   * call.
   */
  compress(bytes: Uint8Array, level: number): Uint8Array
  /** Decompresses a frame that is expected to give `size` bytes, never many more; into `out` where that can be used. */
  decompress(frame: Uint8Array, size: number, out?: Uint8Array): Uint8Array
}

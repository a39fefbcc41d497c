import { compress, decompress, init } from '@bokuweb/zstd-wasm'
import { MAX_WINDOW_BYTES } from './limits.ts'
import type { ZstdCodec } from './zstd-codec.ts'

/** Highest level whose window stays within 8 MiB whatever the input. */
const MAX_LEVEL_FOR_LARGE_INPUT = 19

let initialised: Promise<void> | undefined

/** zstd as WebAssembly, for runtimes that have none built in. */
export const zstd: ZstdCodec = {
  ready: () => (initialised ??= init()),
  compress: (bytes, level) =>
    compress(bytes, bytes.length > MAX_WINDOW_BYTES ? Math.min(level, MAX_LEVEL_FOR_LARGE_INPUT) : level),
  decompress: (frame, size) => decompress(frame, { defaultHeapSize: size }),
}

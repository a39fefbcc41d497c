import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import type { ZstdCodec } from '../zstd-codec.ts'

const MAX_WINDOW_LOG = 23
/** zstd's own worst case for a frame, so that the output is never grown. */
const bound = (size: number): number => size + Math.ceil(size / 128) + 512

/** zstd of node:zlib. */
export const zstd: ZstdCodec = {
  ready: () => Promise.resolve(),
  compress: (bytes, level) =>
    zstdCompressSync(bytes, {
      chunkSize: bound(bytes.length),
      params: { [constants.ZSTD_c_compressionLevel]: level, [constants.ZSTD_c_windowLog]: MAX_WINDOW_LOG },
    }),
  decompress: (frame, size) =>
    zstdDecompressSync(frame, {
      chunkSize: Math.max(64, size),
      maxOutputLength: Math.max(1, size),
      params: { [constants.ZSTD_d_windowLogMax]: MAX_WINDOW_LOG },
    }),
}

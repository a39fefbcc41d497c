import * as zlib from 'node:zlib'
import { M2pError } from '../errors.ts'
import type { ZstdCodec, ZstdSource } from '../zstd-codec.ts'
import { checkZstdFrame } from '../zstd-frame.ts'
import { checkZstdSource } from '../zstd-instance.ts'
import { PrivateZstd } from './zstd-private.ts'

const MAX_WINDOW_LOG = 23
/** zstd's own worst case for a frame, so that the output is never grown. */
const bound = (size: number): number => size + Math.ceil(size / 128) + 512

const compressParams = (level: number): Record<number, number> => ({
  [zlib.constants.ZSTD_c_compressionLevel]: level,
  [zlib.constants.ZSTD_c_windowLog]: MAX_WINDOW_LOG,
})

type SyncCodec = Pick<ZstdCodec, 'compress' | 'decompress'>

/** The documented functions of node:zlib. */
const PUBLIC_API: SyncCodec = {
  compress: (bytes, level) =>
    zlib.zstdCompressSync(bytes, { chunkSize: bound(bytes.length), params: compressParams(level) }),
  decompress: (frame, size) =>
    zlib.zstdDecompressSync(frame, {
      chunkSize: Math.max(64, size),
      maxOutputLength: Math.max(1, size),
      params: { [zlib.constants.ZSTD_d_windowLogMax]: MAX_WINDOW_LOG },
    }),
}

const SAMPLE_SIZES = [200, 5000, 100_000]
const SAMPLE_LEVELS = [3, 12]

function sampleOf(size: number): Uint8Array {
  return new Uint8Array(size).map((_, index) => (index * index) >> 7)
}

/**
 * Whether a codec gives frames of the prescribed form that it reads again. Not every runtime that says it is Node does:
 * Deno leaves out the size of the content.
 */
function isSound(codec: SyncCodec): boolean {
  try {
    return SAMPLE_SIZES.every((size) => {
      const sample = sampleOf(size)
      const frame = codec.compress(sample, 3)
      checkZstdFrame(frame, size)
      return Buffer.compare(codec.decompress(frame, size), sample) === 0
    })
  } catch {
    return false
  }
}

/** The private way, if on this Node it gives what the documented one gives. */
function privateCodec(): SyncCodec | undefined {
  try {
    const codec = PrivateZstd.create({
      compressParams,
      decompressParams: { [zlib.constants.ZSTD_d_windowLogMax]: MAX_WINDOW_LOG },
      bound,
    })
    if (codec === undefined) return undefined
    for (const size of SAMPLE_SIZES) {
      const sample = sampleOf(size)
      for (const level of SAMPLE_LEVELS) {
        const frame = codec.compress(sample, level)
        if (Buffer.compare(frame, PUBLIC_API.compress(sample, level)) !== 0) return undefined
        if (Buffer.compare(codec.decompress(frame, size, new Uint8Array(size)), sample) !== 0) return undefined
      }
    }
    return {
      compress: (bytes, level) => codec.compress(bytes, level),
      decompress: (frame, size, out) => codec.decompress(frame, size, out ?? new Uint8Array(size)),
    }
  } catch {
    return undefined
  }
}

/** zstd of node:zlib, in the fastest way that works here; undefined where it has none, or none of the right form. */
function builtIn(): SyncCodec | undefined {
  if (typeof zlib.zstdCompressSync !== 'function' || !isSound(PUBLIC_API)) return undefined
  return privateCodec() ?? PUBLIC_API
}

let chosen: SyncCodec | undefined
let isBuiltInTried = false

/** What is built in needs no waiting; WebAssembly is there once `ready()` has resolved. */
function codec(): SyncCodec {
  if (!isBuiltInTried) chosen = builtIn()
  isBuiltInTried = true
  if (chosen !== undefined) return chosen
  throw new M2pError('M2P_ZSTD', 'Cannot use zstd before it is loaded')
}

async function load(source: ZstdSource | undefined): Promise<void> {
  if (source !== undefined) checkZstdSource(source)
  if (!isBuiltInTried) chosen = builtIn()
  isBuiltInTried = true
  if (chosen !== undefined) return
  const { zstd: portable } = await import('../zstd-portable.ts')
  await portable.ready(source)
  chosen = portable
}

/** zstd in Node: built in, or as WebAssembly where this Node has none. */
export const zstd: ZstdCodec = {
  ready: load,
  compress: (bytes, level) => codec().compress(bytes, level),
  decompress: (frame, size, out) => codec().decompress(frame, size, out),
}

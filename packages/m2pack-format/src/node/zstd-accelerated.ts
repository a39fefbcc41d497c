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

/** What a codec has to get right before it is used, and the level: each thread tries them when it starts. */
const SAMPLES: readonly (readonly [size: number, level: number])[] = [
  [200, 3],
  [5000, 12],
  [100_000, 3],
]

function sampleOf(size: number): Uint8Array {
  const sample = new Uint8Array(size)
  for (let index = 0; index < size; index++) sample[index] = (index * index) >> 7
  return sample
}

/** A sample and the frame that the documented functions make of it. */
interface SampleFrame {
  readonly sample: Uint8Array
  readonly frame: Uint8Array
  readonly level: number
}

/**
 * Frames of the documented functions; undefined where they are not of the prescribed form, or are not read again. Not
 * every runtime that says it is Node does: Deno leaves out the size of the content.
 */
function soundFrames(): readonly SampleFrame[] | undefined {
  try {
    return SAMPLES.map(([size, level]) => {
      const sample = sampleOf(size)
      const frame = PUBLIC_API.compress(sample, level)
      checkZstdFrame(frame, size)
      if (Buffer.compare(PUBLIC_API.decompress(frame, size), sample) !== 0) throw new Error('Other bytes')
      return { sample, frame, level }
    })
  } catch {
    return undefined
  }
}

/** The private way, if on this Node it gives what the documented one gives. */
function privateCodec(frames: readonly SampleFrame[]): SyncCodec | undefined {
  try {
    const codec = PrivateZstd.create({
      compressParams,
      decompressParams: { [zlib.constants.ZSTD_d_windowLogMax]: MAX_WINDOW_LOG },
      bound,
    })
    if (codec === undefined) return undefined
    for (const { sample, frame, level } of frames) {
      if (Buffer.compare(codec.compress(sample, level), frame) !== 0) return undefined
      const plain = codec.decompress(frame, sample.length, new Uint8Array(sample.length))
      if (Buffer.compare(plain, sample) !== 0) return undefined
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
  const frames = typeof zlib.zstdCompressSync === 'function' ? soundFrames() : undefined
  return frames === undefined ? undefined : (privateCodec(frames) ?? PUBLIC_API)
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

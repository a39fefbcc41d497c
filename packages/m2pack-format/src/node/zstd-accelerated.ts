import { constants, createZstdCompress, createZstdDecompress, zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import type { ZstdCodec } from '../zstd-codec.ts'

const MAX_WINDOW_LOG = 23
/** zstd's own worst case for a frame, so that the output is never grown. */
const bound = (size: number): number => size + Math.ceil(size / 128) + 512

const compressParams = (level: number): Record<number, number> => ({
  [constants.ZSTD_c_compressionLevel]: level,
  [constants.ZSTD_c_windowLog]: MAX_WINDOW_LOG,
})
const decompressParams = { [constants.ZSTD_d_windowLogMax]: MAX_WINDOW_LOG }

function compressByApi(bytes: Uint8Array, level: number): Uint8Array {
  return zstdCompressSync(bytes, { chunkSize: bound(bytes.length), params: compressParams(level) })
}

function decompressByApi(frame: Uint8Array, size: number): Uint8Array {
  return zstdDecompressSync(frame, {
    chunkSize: Math.max(64, size),
    maxOutputLength: Math.max(1, size),
    params: decompressParams,
  })
}

/**
 * The object behind a stream of node:zlib. It is no documented interface, though the same since Node 11 and what
 * widely used packages call: so it is tried out before it is used, and left alone where anything is not as expected.
 */
interface NativeHandle {
  init(
    params: Uint32Array,
    pledgedSize: undefined,
    state: Uint32Array,
    callback: () => void,
    dictionary: undefined,
  ): void
  writeSync(
    flush: number,
    input: Uint8Array,
    at: number,
    length: number,
    output: Uint8Array,
    outputAt: number,
    outputLength: number,
  ): void
  onerror: unknown
}

interface NativeStream {
  readonly _handle: NativeHandle
  /** Room left in the output and bytes left of the input, after each write. */
  readonly _writeState: Uint32Array
}

/** One call into zlib for each frame, on an object that stays: making a stream costs 20 times what a small file does. */
class FastCodec {
  readonly #compressor = createZstdCompress() as unknown as NativeStream
  readonly #params = new Uint32Array(Math.max(...zstdParameters()) + 1).fill(0xffff_ffff)
  #level: number | undefined
  #decompressor = newDecompressor()
  #output = new Uint8Array(64 * 1024)

  /** A context of its own for each frame: one that is used again may give other bytes. */
  compress(bytes: Uint8Array, level: number): Uint8Array {
    const { _handle: handle, _writeState: state } = this.#compressor
    handle.init(this.#paramsOf(level), undefined, state, ignore, undefined)
    const room = bound(bytes.length)
    if (this.#output.length < room) this.#output = new Uint8Array(room)
    handle.writeSync(constants.ZSTD_e_end, bytes, 0, bytes.length, this.#output, 0, room)
    if (state[1] !== 0) throw new Error('zstd left input behind')
    return this.#output.subarray(0, room - (state[0] as number))
  }

  /** Most builds know one level only. */
  #paramsOf(level: number): Uint32Array {
    if (this.#level !== level)
      for (const [parameter, value] of Object.entries(compressParams(level))) this.#params[Number(parameter)] = value
    this.#level = level
    return this.#params
  }

  decompress(frame: Uint8Array, size: number, out: Uint8Array): Uint8Array {
    const { _handle: handle, _writeState: state } = this.#decompressor
    let failed = false
    handle.onerror = () => {
      failed = true
    }
    handle.writeSync(constants.ZSTD_e_end, frame, 0, frame.length, out, 0, size)
    if (!failed && state[0] === 0 && state[1] === 0) return out.subarray(0, size)
    // What a context holds after a bad frame is anyone's guess: the next frame gets a new one.
    this.#decompressor = newDecompressor()
    throw new Error('The frame does not give the size it says')
  }
}

function ignore(): void {}

function newDecompressor(): NativeStream {
  return createZstdDecompress({ params: decompressParams }) as unknown as NativeStream
}

function zstdParameters(): number[] {
  return Object.entries(constants).flatMap(([name, value]) => (name.startsWith('ZSTD_c_') ? [value as number] : []))
}

/** The fast way, if on this Node it gives what the documented one gives. */
function fastCodec(): FastCodec | undefined {
  try {
    const codec = new FastCodec()
    for (const size of [200, 5000, 100_000]) {
      const sample = new Uint8Array(size).map((_, index) => (index * index) >> 7)
      for (const level of [3, 12]) {
        const frame = codec.compress(sample, level)
        if (Buffer.compare(frame, compressByApi(sample, level)) !== 0) return undefined
        if (Buffer.compare(codec.decompress(frame, size, new Uint8Array(size)), sample) !== 0) return undefined
      }
    }
    return codec
  } catch {
    return undefined
  }
}

let fast: FastCodec | undefined
let tried = false

function codec(): FastCodec | undefined {
  if (!tried) fast = fastCodec()
  tried = true
  return fast
}

/** zstd of node:zlib. */
export const zstd: ZstdCodec = {
  ready: () => Promise.resolve(),
  compress: (bytes, level) => codec()?.compress(bytes, level) ?? compressByApi(bytes, level),
  decompress: (frame, size, out) =>
    codec()?.decompress(frame, size, out ?? new Uint8Array(size)) ?? decompressByApi(frame, size),
}

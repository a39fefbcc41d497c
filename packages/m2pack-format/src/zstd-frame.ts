import { M2pError } from './errors.ts'
import { MAX_WINDOW_BYTES } from './limits.ts'

const MAGIC = 0xfd2fb528
const SINGLE_SEGMENT = 0x20
const RESERVED_BIT = 0x08
const CHECKSUM = 0x04
const DICTIONARY = 0x03
const RLE_BLOCK = 1
const RESERVED_BLOCK = 3

function refuse(reason: string): never {
  throw new M2pError('M2P_ZSTD', `Cannot decompress segment: ${reason}`)
}

/** Little-endian number of `length` bytes. */
function number(frame: Uint8Array, at: number, length: number): number {
  let value = 0
  for (let index = length - 1; index >= 0; index--)
    value = value * 0x100 + (frame[at + index] ?? refuse('the frame is cut'))
  return value
}

function windowBytes(descriptor: number): number {
  const base = 2 ** (10 + (descriptor >> 3))
  return base + (base / 8) * (descriptor & 7)
}

/** Where the blocks start. */
function checkFrameHeader(frame: Uint8Array, size: number): number {
  if (frame.length < 5 || number(frame, 0, 4) !== MAGIC) refuse('it is not a zstd frame')
  const descriptor = frame[4] as number
  if ((descriptor & DICTIONARY) !== 0) refuse('the frame names a dictionary')
  if ((descriptor & CHECKSUM) !== 0) refuse('the frame has a checksum')
  if ((descriptor & RESERVED_BIT) !== 0) refuse('the frame has a reserved bit set')
  const singleSegment = (descriptor & SINGLE_SEGMENT) !== 0
  const sizeFlag = descriptor >> 6
  const sizeLength = sizeFlag === 0 ? (singleSegment ? 1 : 0) : 1 << sizeFlag
  if (sizeLength === 0) refuse('the frame does not state its content size')
  const sizeAt = singleSegment ? 5 : 6
  const contentSize = number(frame, sizeAt, sizeLength) + (sizeLength === 2 ? 256 : 0)
  const window = singleSegment ? contentSize : windowBytes(number(frame, 5, 1))
  if (window > MAX_WINDOW_BYTES) {
    throw new M2pError(
      'M2P_LIMIT',
      `Cannot decompress segment: the frame wants a window of ${window} bytes, the limit is ${MAX_WINDOW_BYTES}`,
    )
  }
  if (contentSize !== size) {
    throw new M2pError('M2P_SIZE', `Cannot decompress segment: the frame holds ${contentSize} bytes, expected ${size}`)
  }
  return sizeAt + sizeLength
}

/**
 * Checks that `frame` is one plain zstd frame of `size` bytes and nothing else: docs/spec/m2pack.md §3. Decoders
 * differ in what they accept (skippable frames, several frames, dictionaries, checksums), so none is relied on.
 *
 * @throws {@link M2pError} `M2P_ZSTD`, `M2P_SIZE`, `M2P_LIMIT`.
 */
export function checkZstdFrame(frame: Uint8Array, size: number): void {
  let at = checkFrameHeader(frame, size)
  for (let last = false; !last;) {
    const header = number(frame, at, 3)
    last = (header & 1) === 1
    const type = (header >> 1) & 3
    if (type === RESERVED_BLOCK) refuse('the frame has a block of reserved type')
    at += 3 + (type === RLE_BLOCK ? 1 : header >> 3)
    if (at > frame.length) refuse('the frame is cut')
  }
  if (at !== frame.length) refuse(`${frame.length - at} bytes follow the frame`)
}

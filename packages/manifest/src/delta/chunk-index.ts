import { equalBytes, hexDecode, PrimitivesError, Reader, sha256Hex, Writer } from '@keyturn/primitives'
import { ManifestError } from '../errors.ts'
import { limits } from '../limits.ts'
import type { IndexReference } from '../model.ts'

/** The chunks of one blob, in order, without gaps. */
export interface ChunkIndex {
  /** Parameter set it was cut with. */
  readonly params: number
  /** Bytes of the blob. */
  readonly blobBytes: number
  /** SHA-256 of the blob. */
  readonly blobSha256: Uint8Array
  /** Length of each chunk. */
  readonly lengths: Uint32Array
  /** SHA-256 of each chunk, one after the other. */
  readonly digests: Uint8Array
}

const MAGIC = Uint8Array.of(0x4d, 0x32, 0x49, 0x58)
const VERSION = 1
const HEADER_BYTES = 52
const ENTRY_BYTES = 36

/** The SHA-256 of one chunk: a view. */
export function chunkDigest({ digests }: ChunkIndex, chunk: number): Uint8Array {
  return digests.subarray(chunk * 32, chunk * 32 + 32)
}

// offset  size  field                    docs/spec/manifest.md §8; little-endian
//  0      4     magic "M2IX"
//  4      1     version
//  5      1     params
//  6      2     zero
//  8      8     blob size
// 16      32    SHA-256 of the blob
// 48      4     count
// 52      36 n  length u32, SHA-256 of the chunk

/** Writes the blob of a chunk index. */
export function writeChunkIndex(index: ChunkIndex): Uint8Array<ArrayBuffer> {
  const count = index.lengths.length
  const writer = new Writer(HEADER_BYTES + count * ENTRY_BYTES)
  writer.bytes(MAGIC).u8(VERSION).u8(index.params).zeros(2)
  writer.u64le(BigInt(index.blobBytes)).bytes(index.blobSha256).u32le(count)
  for (let chunk = 0; chunk < count; chunk++)
    writer.u32le(index.lengths[chunk] as number).bytes(chunkDigest(index, chunk))
  return writer.finish()
}

function refuse(message: string): never {
  throw new ManifestError('MAN_INDEX', `Cannot read chunk index: ${message}`)
}

/** What an index has to fit, all of it from the signed manifest. */
export interface ExpectedIndex {
  /** The manifest's entry for the index. */
  readonly reference: IndexReference
  /** SHA-256 of the file it describes, hex. */
  readonly blobSha256: string
  /** Bytes of that file. */
  readonly blobBytes: number
}

function readChunkIndex(bytes: Uint8Array): ChunkIndex {
  const reader = new Reader(bytes)
  reader.expect(MAGIC, 'magic')
  if (reader.u8('version') !== VERSION) refuse('its version is unknown')
  const params = reader.u8('params')
  reader.zeros(2, 'reserved')
  const blobBytes = reader.size64le('blob size')
  const blobSha256 = reader.bytes(32, 'blob hash').slice()
  const count = reader.u32le('count')
  if (count * ENTRY_BYTES !== reader.remaining) refuse(`${count} chunks are stated, ${reader.remaining} bytes follow`)
  const lengths = new Uint32Array(count)
  const digests = new Uint8Array(count * 32)
  let sum = 0
  for (let chunk = 0; chunk < count; chunk++) {
    const length = reader.u32le('length')
    if (length === 0) refuse(`chunk ${chunk} is empty`)
    lengths[chunk] = length
    sum += length
    digests.set(reader.bytes(32, 'chunk hash'), chunk * 32)
  }
  if (sum !== blobBytes) refuse(`its chunks add up to ${sum} bytes, the blob has ${blobBytes}`)
  return { params, blobBytes, blobSha256, lengths, digests }
}

/**
 * Reads the blob of a chunk index.
 *
 * @param bytes - The literal blob.
 * @param expected - What the manifest says; without it only the shape is checked.
 * @throws {@link ManifestError} `MAN_INDEX`, `MAN_LIMIT`.
 */
export function parseChunkIndex(bytes: Uint8Array, expected?: ExpectedIndex): ChunkIndex {
  if (bytes.length > limits.indexBytes)
    throw new ManifestError('MAN_LIMIT', `Cannot read chunk index: it is over ${limits.indexBytes} bytes`)
  if (
    expected !== undefined &&
    (bytes.length !== expected.reference.size || sha256Hex(bytes) !== expected.reference.sha256)
  ) {
    refuse('it is not the one that the manifest names')
  }
  let index: ChunkIndex
  try {
    index = readChunkIndex(bytes)
  } catch (error) {
    if (error instanceof PrimitivesError)
      throw new ManifestError('MAN_INDEX', error.message, { details: error.details, cause: error })
    throw error
  }
  if (expected === undefined) return index
  const { reference, blobBytes, blobSha256 } = expected
  const fits = index.blobBytes === blobBytes && equalBytes(index.blobSha256, hexDecode(blobSha256))
  if (!fits) refuse('it describes another file')
  if (index.params !== reference.params || index.lengths.length !== reference.chunks)
    refuse('the manifest states other chunks')
  return index
}

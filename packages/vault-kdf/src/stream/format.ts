import { concatBytes, hkdfSha256, openAes256Gcm, PrimitivesError, sealAes256Gcm, wipe } from '@keyturn/primitives'
import { VaultError } from '../errors.ts'
import { labels } from '../labels.ts'
import { lengthPrefixed } from '../length-prefixed.ts'
import { KEY_BYTES, STREAM_CHUNK_BYTES } from '../limits.ts'

// offset  size  field                        docs/spec/vault-kdf.md §12
//  0       4    magic    89 "HXS"
//  4       1    format   01
//  5       1    suite    01 = HKDF-SHA-256 + AES-256-GCM
//  6       1    chunk    binary logarithm of the plaintext in a chunk: 10 (16) = 65,536
//  7       1    flags    00
//  8       …    chunks   plaintext and a tag of 16 bytes each; only the last may be shorter
const HEADER = new Uint8Array([0x89, 0x48, 0x58, 0x53, 1, 1, 16, 0])
const NONCE_BYTES = 12
const TAG_BYTES = 16

/** Bytes before the first chunk. */
export const STREAM_HEADER_BYTES = HEADER.length
/** Bytes of a full chunk, sealed. */
export const SEALED_CHUNK_BYTES = STREAM_CHUNK_BYTES + TAG_BYTES
/** Most chunks: their number is a u32. */
const MAX_CHUNKS = 2 ** 32
/** Largest plaintext of one stream: 256 TiB. */
export const MAX_STREAM_BYTES = MAX_CHUNKS * STREAM_CHUNK_BYTES

/** The header; every stream of this format has the same. */
export const streamHeader = (): Uint8Array => HEADER.slice()

/** Chunks of a plaintext: one, which is empty, for none. */
export const chunkCount = (size: number): number => Math.max(1, Math.ceil(size / STREAM_CHUNK_BYTES))

/** Bytes of a sealed stream by those of its plaintext. */
export const sealedStreamBytes = (size: number): number => STREAM_HEADER_BYTES + size + TAG_BYTES * chunkCount(size)

/** The key of the chunks: derived from the secret of this one stream. The caller wipes it. */
export function deriveStreamKey(secret: Uint8Array): Uint8Array {
  if (secret.length !== KEY_BYTES)
    throw new RangeError(`Secret of a stream has ${secret.length} bytes, expected ${KEY_BYTES}`)
  return hkdfSha256(secret, new Uint8Array(0), lengthPrefixed(labels.stream, HEADER), KEY_BYTES)
}

/** Refuses a header of another format. @throws VaultError `VK_STREAM`. */
export function checkStreamHeader(header: Uint8Array): void {
  if (header.length === HEADER.length && HEADER.every((byte, index) => header[index] === byte)) return
  throw new VaultError('VK_STREAM', 'The bytes do not begin as a sealed stream of a known format')
}

/** STREAM: the number of the chunk, and whether it is the last, are in its nonce. */
function nonceOf(index: number, last: boolean): Uint8Array {
  const nonce = new Uint8Array(NONCE_BYTES)
  new DataView(nonce.buffer).setUint32(7, index)
  nonce[11] = last ? 1 : 0
  return nonce
}

/** Seals one chunk. @throws VaultError `VK_LIMIT`. */
export function sealChunk(key: Uint8Array, chunk: Uint8Array, index: number, last: boolean): Uint8Array {
  if (index >= MAX_CHUNKS) throw new VaultError('VK_LIMIT', `A stream holds at most ${MAX_STREAM_BYTES} bytes`)
  return sealAes256Gcm(key, nonceOf(index, last), chunk, { aad: HEADER })
}

/**
 * Opens one chunk. Whatever is wrong with it (damage, another place, a stream that was cut before it or goes on after
 * it) is one error.
 *
 * @throws VaultError `VK_STREAM`.
 */
export function openChunk(key: Uint8Array, sealed: Uint8Array, index: number, last: boolean): Uint8Array {
  const wrong = (cause?: unknown): VaultError =>
    new VaultError(
      'VK_STREAM',
      `Chunk ${index} of the stream does not open: it is damaged, or the stream was cut off`,
      {
        details: { chunk: index },
        cause,
      },
    )
  if (sealed.length < TAG_BYTES || index >= MAX_CHUNKS) throw wrong()
  try {
    return openAes256Gcm(key, nonceOf(index, last), sealed, { aad: HEADER })
  } catch (error) {
    if (error instanceof PrimitivesError && error.code === 'PRIM_DECRYPT') throw wrong(error)
    throw error
  }
}

/** Cuts bytes into pieces of one size; the last is shorter or full, and empty only when there are none at all. */
export async function* cutInto(
  source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  size: number,
): AsyncGenerator<{ readonly piece: Uint8Array; readonly last: boolean }> {
  const room = new Uint8Array(size)
  let used = 0
  try {
    for await (const bytes of source) {
      if (!(bytes instanceof Uint8Array)) throw new TypeError('The source of a stream must yield Uint8Array')
      for (let at = 0; at < bytes.length;) {
        if (used === size) {
          yield { piece: room, last: false } // full, and more follows; used before the next one is asked for
          used = 0
        }
        const take = Math.min(size - used, bytes.length - at)
        room.set(bytes.subarray(at, at + take), used)
        used += take
        at += take
      }
    }
    yield { piece: room.subarray(0, used), last: true }
  } finally {
    wipe(room)
  }
}

/** The first bytes of a source, and all of the rest. */
export async function splitHeader(
  source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<{ readonly header: Uint8Array; readonly rest: AsyncGenerator<Uint8Array> }> {
  const parts = partsOf(source)
  let header = new Uint8Array(0)
  while (header.length < STREAM_HEADER_BYTES) {
    const { done, value } = await parts.next()
    if (done === true) break
    header = concatBytes(header, value)
  }
  const extra = header.subarray(STREAM_HEADER_BYTES)
  async function* rest(): AsyncGenerator<Uint8Array> {
    yield extra
    yield* parts
  }
  return { header: header.subarray(0, STREAM_HEADER_BYTES), rest: rest() }
}

async function* partsOf(source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* source
}

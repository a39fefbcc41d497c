import { SecretBytes, requireMembers, wipe } from '@keyturn/primitives'
import { VaultError } from '../errors.ts'
import { STREAM_CHUNK_BYTES } from '../limits.ts'
import {
  SEALED_CHUNK_BYTES,
  STREAM_HEADER_BYTES,
  checkStreamHeader,
  chunkCount,
  cutInto,
  deriveStreamKey,
  openChunk,
  sealChunk,
  sealedStreamBytes,
  splitHeader,
  streamHeader,
} from './format.ts'

/** Bytes in order: what streams are made from and opened from. */
export type ByteStream = AsyncIterable<Uint8Array> | Iterable<Uint8Array>

/** Sealed bytes by their place: a file, an object in a store, memory. */
export interface SealedSource {
  /** Bytes in all. */
  readonly size: number
  /** Exactly `length` bytes from `offset`; fewer mean that the source ended. */
  read(offset: number, length: number): Promise<Uint8Array> | Uint8Array
}

/** What the last chunk waits for. */
export interface StreamEnd {
  /** Called with the bytes of the plaintext when all have been read; the last chunk is given out after it. */
  beforeLast?(size: number): Promise<void>
}

/**
 * Seals bytes of any length chunk by chunk: docs/spec/vault-kdf.md §12. At most two chunks are in memory.
 *
 * @param secret - 32 bytes, of this one stream alone; neither kept after the end nor modified.
 */
export async function* sealStream(
  secret: Uint8Array,
  plaintext: ByteStream,
  end: StreamEnd = {},
): AsyncGenerator<Uint8Array> {
  const key = deriveStreamKey(secret)
  try {
    yield streamHeader()
    let index = 0
    let size = 0
    for await (const { piece, last } of cutInto(plaintext, STREAM_CHUNK_BYTES)) {
      size += piece.length
      const sealed = sealChunk(key, piece, index, last)
      if (last) await end.beforeLast?.(size)
      yield sealed
      index += 1
    }
  } finally {
    wipe(key)
  }
}

/**
 * Opens what {@link sealStream} sealed. A chunk is given out when it was verified; that none is missing at the end is
 * known with the last one, so do not act on the whole before the loop has ended.
 *
 * @param secret - The one it was sealed with.
 * @throws VaultError `VK_STREAM`.
 */
export async function* openStream(secret: Uint8Array, sealed: ByteStream): AsyncGenerator<Uint8Array> {
  const key = deriveStreamKey(secret)
  try {
    const { header, rest } = await splitHeader(sealed)
    checkStreamHeader(header)
    let index = 0
    for await (const { piece, last } of cutInto(rest, SEALED_CHUNK_BYTES)) {
      const plaintext = openChunk(key, piece, index, last)
      // The only empty chunk is the one of an empty stream: every plaintext has one sealed form.
      if (plaintext.length === 0 && index > 0) throw new VaultError('VK_STREAM', 'The stream ends in an empty chunk')
      if (plaintext.length > 0) yield plaintext
      index += 1
    }
  } finally {
    wipe(key)
  }
}

/** A sealed stream of which any range can be read. Close it: it holds the key of this one stream. */
export class SealedStream {
  /** Bytes of the plaintext. */
  readonly size: number
  readonly #source: SealedSource
  readonly #key: SecretBytes

  private constructor(source: SealedSource, key: SecretBytes, size: number) {
    this.#source = source
    this.#key = key
    this.size = size
  }

  /**
   * Opens a stream whose length is known: header and length are compared, no chunk is read yet.
   *
   * @param secret - The one it was sealed with; neither kept nor modified.
   * @param size - Bytes of the plaintext, from where they cannot be changed.
   * @throws VaultError `VK_STREAM` when the source is shorter or longer than that, or no sealed stream.
   */
  static async open(secret: Uint8Array, source: SealedSource, size: number): Promise<SealedStream> {
    requireMembers(source, 'source', ['size', 'read'])
    const expected = sealedStreamBytes(size)
    if (source.size !== expected)
      throw new VaultError('VK_STREAM', `The sealed stream has ${source.size} bytes, expected ${expected}`, {
        details: { found: source.size, expected },
      })
    checkStreamHeader(await source.read(0, STREAM_HEADER_BYTES))
    return new SealedStream(source, SecretBytes.take(deriveStreamKey(secret)), size)
  }

  /**
   * The bytes from `start` up to `end`, both bounds within the plaintext; every chunk that is touched was verified.
   *
   * @throws VaultError `VK_STREAM`. RangeError for bounds outside.
   */
  async *range(start = 0, end = this.size): AsyncGenerator<Uint8Array> {
    if (!Number.isSafeInteger(start) || !Number.isSafeInteger(end) || start < 0 || start > end || end > this.size)
      throw new RangeError(`Range ${start} to ${end} is not within the ${this.size} bytes of the stream`)
    const lastChunk = chunkCount(this.size) - 1
    for (let index = Math.floor(start / STREAM_CHUNK_BYTES); index * STREAM_CHUNK_BYTES < end; index++) {
      const from = index * STREAM_CHUNK_BYTES
      const length = Math.min(STREAM_CHUNK_BYTES, this.size - from) + (SEALED_CHUNK_BYTES - STREAM_CHUNK_BYTES)
      const sealed = await this.#source.read(STREAM_HEADER_BYTES + index * SEALED_CHUNK_BYTES, length)
      const chunk = this.#key.withBytes((key) =>
        openChunk(key, sealed.length === length ? sealed : new Uint8Array(0), index, index === lastChunk),
      )
      yield chunk.subarray(Math.max(0, start - from), end - from)
    }
  }

  /** {@link SealedStream.range} as one array. The caller wipes it. */
  async read(offset: number, length: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(Math.min(length, Math.max(0, this.size - offset)))
    let at = 0
    for await (const part of this.range(offset, offset + length)) {
      bytes.set(part, at)
      at += part.length
      wipe(part)
    }
    return bytes
  }

  /** Wipes the key. */
  close(): void {
    this.#key.dispose()
  }
}

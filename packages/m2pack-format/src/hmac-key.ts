import { createSha256, sha256, wipe } from '@keyturn/primitives'

const BLOCK_BYTES = 64
const DIGEST_BYTES = 32
/** Longest message that is copied after the key block, so that one call hashes both. */
const SMALL_MESSAGE_BYTES = 16 * 1024

/**
 * HMAC-SHA-256 (RFC 2104) under one key for many messages, as two plain hashes: a keyed object of the platform costs
 * some ten times more to set up than the hashing of a small message does.
 */
export class HmacKey {
  readonly #inner = new Uint8Array(BLOCK_BYTES + SMALL_MESSAGE_BYTES)
  readonly #outer = new Uint8Array(BLOCK_BYTES + DIGEST_BYTES)

  /** @param key - At most 64 bytes, secret; copied. */
  constructor(key: Uint8Array) {
    if (key.length > BLOCK_BYTES) throw new RangeError('An HMAC key of more than 64 bytes is not supported')
    for (let at = 0; at < BLOCK_BYTES; at++) {
      const byte = key[at] ?? 0
      this.#inner[at] = byte ^ 0x36
      this.#outer[at] = byte ^ 0x5c
    }
  }

  /** The HMAC of the joined parts, 32 bytes, fresh. */
  sign(...parts: readonly Uint8Array[]): Uint8Array {
    this.#outer.set(this.#hashInner(parts), BLOCK_BYTES)
    return sha256(this.#outer)
  }

  #hashInner(parts: readonly Uint8Array[]): Uint8Array {
    let at = BLOCK_BYTES
    for (const [index, part] of parts.entries()) {
      if (at + part.length > this.#inner.length) return this.#hashLong(at, parts.slice(index))
      this.#inner.set(part, at)
      at += part.length
    }
    return sha256(this.#inner.subarray(0, at))
  }

  #hashLong(at: number, rest: readonly Uint8Array[]): Uint8Array {
    const hash = createSha256().update(this.#inner.subarray(0, at))
    for (const part of rest) hash.update(part)
    return hash.digest()
  }

  /** Wipes key and last message. */
  wipe(): void {
    wipe(this.#inner, this.#outer)
  }
}

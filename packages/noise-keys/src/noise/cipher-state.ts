import { wipe } from '@keyturn/primitives'
import { NoiseKeysError } from '../errors.ts'
import type { CipherFunction } from './suite.ts'

/** Longest Noise message, handshake and transport alike. */
export const MAX_MESSAGE_BYTES = 65_535
/** Bytes a tag adds. */
export const TAG_BYTES = 16
/** Longest plaintext of a transport message. */
export const MAX_PLAINTEXT_BYTES = MAX_MESSAGE_BYTES - TAG_BYTES

const NO_BYTES = new Uint8Array(0)
/** Reserved for {@link CipherState.rekey}; never used for a message. */
const REKEY_NONCE = 0xffff_ffff_ffff_ffffn

/** One direction of a channel: key and counter. Noise specification §5.1. */
export class CipherState {
  readonly #cipher: CipherFunction
  #key: Uint8Array | undefined
  #nonce = 0n

  /**
   * @param cipher - Function of the protocol.
   * @param key - 32 bytes, taken over; without one, messages pass unchanged.
   */
  constructor(cipher: CipherFunction, key?: Uint8Array) {
    this.#cipher = cipher
    this.#key = key
  }

  /** Whether there is a key. */
  get hasKey(): boolean {
    return this.#key !== undefined
  }

  /** Counter of the next message. */
  get nonce(): bigint {
    return this.#nonce
  }

  /** Sets the counter, for transports that carry it themselves. */
  set nonce(nonce: bigint) {
    if (nonce < 0n || nonce > REKEY_NONCE) throw new RangeError('nonce: wanted 0 to 2^64-1')
    this.#nonce = nonce
  }

  /** Replaces the key and starts counting again. */
  initialize(key: Uint8Array): void {
    wipe(this.#key)
    this.#key = key
    this.#nonce = 0n
  }

  /**
   * Encrypts the next message.
   *
   * @throws {@link NoiseKeysError} `NK_NONCE_EXHAUSTED`, `NK_LIMIT`.
   */
  encrypt(plaintext: Uint8Array, aad: Uint8Array = NO_BYTES): Uint8Array {
    if (this.#key === undefined) return plaintext.slice()
    if (plaintext.length > MAX_PLAINTEXT_BYTES) throw tooLong(plaintext.length, MAX_PLAINTEXT_BYTES)
    this.#assertNonce()
    const ciphertext = this.#cipher.seal(this.#key, this.#nonce, aad, plaintext)
    this.#nonce += 1n
    return ciphertext
  }

  /**
   * Decrypts the next message. The counter advances only when the tag fits.
   *
   * @throws {@link NoiseKeysError} `NK_DECRYPT`, `NK_NONCE_EXHAUSTED`, `NK_LIMIT`.
   */
  decrypt(ciphertext: Uint8Array, aad: Uint8Array = NO_BYTES): Uint8Array {
    if (this.#key === undefined) return ciphertext.slice()
    if (ciphertext.length > MAX_MESSAGE_BYTES) throw tooLong(ciphertext.length, MAX_MESSAGE_BYTES)
    this.#assertNonce()
    const plaintext = this.#open(this.#key, ciphertext, aad)
    this.#nonce += 1n
    return plaintext
  }

  /** Noise's own rekey: the first 32 bytes of 32 zero bytes encrypted under the reserved nonce. §11.3 */
  rekey(): void {
    if (this.#key === undefined) throw new TypeError('rekey() needs a key')
    const sealed = this.#cipher.seal(this.#key, REKEY_NONCE, NO_BYTES, new Uint8Array(32))
    wipe(this.#key)
    this.#key = sealed.slice(0, 32)
    wipe(sealed)
  }

  /** Wipes the key; nothing can be encrypted or decrypted afterwards. */
  dispose(): void {
    wipe(this.#key)
    this.#key = undefined
    this.#nonce = REKEY_NONCE
  }

  #open(key: Uint8Array, ciphertext: Uint8Array, aad: Uint8Array): Uint8Array {
    if (ciphertext.length < TAG_BYTES) throw new NoiseKeysError('NK_DECRYPT', 'The message is shorter than its tag')
    try {
      return this.#cipher.open(key, this.#nonce, aad, ciphertext)
    } catch (cause) {
      throw new NoiseKeysError('NK_DECRYPT', 'The message does not open', { cause })
    }
  }

  #assertNonce(): void {
    if (this.#nonce < REKEY_NONCE) return
    throw new NoiseKeysError('NK_NONCE_EXHAUSTED', 'All nonces of this key are used')
  }
}

function tooLong(length: number, limit: number): NoiseKeysError {
  return new NoiseKeysError('NK_LIMIT', `The message has ${length} bytes, at most ${limit} are allowed`)
}

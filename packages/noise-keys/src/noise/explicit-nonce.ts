import { NoiseKeysError } from '../errors.ts'
import type { CipherState } from './cipher-state.ts'
import { ReplayWindow } from './replay-window.ts'

/** A message for a transport that can lose or reorder messages; its counter is sent with it. */
export interface NumberedMessage {
  readonly nonce: bigint
  readonly ciphertext: Uint8Array
}

/** Sends over transports that lose or reorder messages. */
export class NumberedSender {
  readonly #cipher: CipherState

  /** @param cipher - Belongs to this object from now on. */
  constructor(cipher: CipherState) {
    this.#cipher = cipher
  }

  /** @throws {@link NoiseKeysError} `NK_NONCE_EXHAUSTED`, `NK_LIMIT`. */
  encrypt(plaintext: Uint8Array): NumberedMessage {
    const { nonce } = this.#cipher
    return { nonce, ciphertext: this.#cipher.encrypt(plaintext) }
  }
}

/** Receives in any order, each message at most once. */
export class NumberedReceiver {
  readonly #cipher: CipherState
  readonly #window = new ReplayWindow()

  /** @param cipher - Belongs to this object from now on. */
  constructor(cipher: CipherState) {
    this.#cipher = cipher
  }

  /** @throws {@link NoiseKeysError} `NK_REPLAY` (already received, or too old to know), `NK_DECRYPT`, `NK_LIMIT`. */
  decrypt({ nonce, ciphertext }: NumberedMessage): Uint8Array {
    if (!this.#window.isNew(nonce))
      throw new NoiseKeysError('NK_REPLAY', `Message ${nonce} was received before, or is too old to know`)
    this.#cipher.nonce = nonce
    const plaintext = this.#cipher.decrypt(ciphertext)
    // Only a verified message moves the window; otherwise a forger could close it.
    this.#window.mark(nonce)
    return plaintext
  }
}

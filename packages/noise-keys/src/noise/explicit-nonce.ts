import { NoiseKeysError } from '../errors.ts'
import type { CipherState } from './cipher-state.ts'
import { ReplayWindow } from './replay-window.ts'

/** A message of a transport that loses or reorders: its counter travels beside it. */
export interface NumberedMessage {
  readonly nonce: bigint
  readonly ciphertext: Uint8Array
}

/** Sends over transports that lose or reorder messages. */
export class NumberedSender {
  readonly #cipher: CipherState

  /** @param cipher - Taken over. */
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

  /** @param cipher - Taken over. */
  constructor(cipher: CipherState) {
    this.#cipher = cipher
  }

  /** @throws {@link NoiseKeysError} `NK_REPLAY` (seen, or too old to tell), `NK_DECRYPT`, `NK_LIMIT`. */
  decrypt({ nonce, ciphertext }: NumberedMessage): Uint8Array {
    if (!this.#window.isNew(nonce))
      throw new NoiseKeysError('NK_REPLAY', `Message ${nonce} was seen before or is too old`)
    this.#cipher.nonce = nonce
    const plaintext = this.#cipher.decrypt(ciphertext)
    // Only what is genuine moves the window, else a forger could close it.
    this.#window.mark(nonce)
    return plaintext
  }
}

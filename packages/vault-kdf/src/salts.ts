import type { RandomSource } from '@keyturn/primitives'
import { VaultError } from './errors.ts'

const SALT_BYTES = 32
const remembered = 4_096

/**
 * Fresh message salts, watched: a random source that repeats itself (a cloned machine, a broken driver) would make two
 * messages share their keys.
 */
export class Salts {
  readonly #random: RandomSource
  readonly #seen = new Set<string>()

  constructor(random: RandomSource) {
    this.#random = random
  }

  /** 32 bytes. @throws VaultError `VK_NONCE_REUSE` when the source gives one of its last 4,096 values again. */
  next(): Uint8Array {
    const salt = this.#random(SALT_BYTES)
    const name = String.fromCharCode(...salt)
    if (this.#seen.has(name))
      throw new VaultError('VK_NONCE_REUSE', 'The random source gave the same message salt twice')
    this.#seen.add(name)
    if (this.#seen.size > remembered) for (const oldest of this.#seen) return this.#forget(oldest, salt)
    return salt
  }

  #forget(oldest: string, salt: Uint8Array): Uint8Array {
    this.#seen.delete(oldest)
    return salt
  }
}

import { wipe } from '@keyturn/primitives'
import type { RandomSource } from '@keyturn/primitives'
import { VaultError } from './errors.ts'
import { hedgeKey, hedgedBytes, messageSalt } from './hedged.ts'
import type { MessageToSeal } from './hedged.ts'

const SALT_BYTES = 32
const REMEMBERED = 4_096

/**
 * Fresh message salts, hedged and watched. Hedged: two machines with one random state (a restored snapshot, a cloned
 * virtual machine) still seal different records under different keys. Watched: a source that repeats itself within one
 * process is broken, and writing stops.
 */
export class Salts {
  readonly #random: RandomSource
  readonly #key: Uint8Array
  readonly #seen = new Set<string>()

  /** @param secret - Secret of the vault; used for derivation here and now, not kept. */
  constructor(random: RandomSource, secret: Uint8Array) {
    this.#random = random
    this.#key = hedgeKey(secret)
  }

  /**
   * 32 bytes for one message.
   *
   * @throws VaultError `VK_NONCE_REUSE` when the source gives one of its last 4,096 values again.
   */
  next(message: MessageToSeal): Uint8Array {
    return messageSalt(this.#key, this.#watched(), message)
  }

  /** 32 bytes that are a secret of their own; `use` says what for. The caller wipes them. */
  secret(...use: readonly Uint8Array[]): Uint8Array {
    return hedgedBytes(this.#key, this.#watched(), SALT_BYTES, ...use)
  }

  #watched(): Uint8Array {
    const random = this.#random(SALT_BYTES)
    const name = String.fromCharCode(...random)
    if (this.#seen.has(name))
      throw new VaultError('VK_NONCE_REUSE', 'The random source gave the same 32 bytes twice', {
        hint: 'Nothing was written. Stop this process and look at the random source of the machine',
      })
    this.#seen.add(name)
    if (this.#seen.size > REMEMBERED) this.#forgetOldest()
    return random
  }

  #forgetOldest(): void {
    for (const oldest of this.#seen) {
      this.#seen.delete(oldest)
      return
    }
  }

  /** Wipes the key. */
  dispose(): void {
    wipe(this.#key)
  }
}

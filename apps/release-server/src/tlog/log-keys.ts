import { ed25519PublicKey, ed25519Sign, wipe } from '@keyturn/primitives'
import type { RandomSource } from '@keyturn/primitives'
import { verifierKey } from '@keyturn/tlog'
import type { KeyType, NoteSigner } from '@keyturn/tlog'
import { VaultError } from '@keyturn/vault-kdf'
import type { Vault } from '@keyturn/vault-kdf'

/** Keys of logs and of the witness, each in the vault under its own name, made when first asked for. */
export class LogKeys {
  readonly #vault: Vault
  readonly #random: RandomSource

  constructor(vault: Vault, random: RandomSource) {
    this.#vault = vault
    this.#random = random
  }

  /**
   * A signer whose secret is opened for each signature and wiped after it.
   *
   * @param record - Name in the vault: `log/<product>`, `witness`.
   */
  async signer(record: string, name: string, type: KeyType): Promise<NoteSigner> {
    const publicKey = await this.#withSeed(record, (seed) => ed25519PublicKey(seed))
    return {
      key: verifierKey(name, type, publicKey),
      sign: (message) => this.#withSeed(record, (seed) => ed25519Sign(seed, message)),
    }
  }

  async #withSeed<T>(record: string, use: (seed: Uint8Array) => T): Promise<T> {
    const cell = this.#vault.partition('keyturn').cell('transparency')
    const seed = await cell.open(record).catch(async (error: unknown) => {
      if (!(error instanceof VaultError) || error.code !== 'VK_NOT_FOUND') throw error
      const fresh = this.#random(32)
      // Two replicas may try at once: the first one's key counts.
      await cell.seal(record, fresh.slice(), { expected: 'absent' }).catch((cause: unknown) => {
        if (!(cause instanceof VaultError) || cause.code !== 'VK_CONFLICT') throw cause
      })
      wipe(fresh)
      return await cell.open(record)
    })
    try {
      return use(seed)
    } finally {
      wipe(seed)
    }
  }
}

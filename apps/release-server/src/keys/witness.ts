import { KelError, localWitness } from '@keyturn/kel'
import type { Signer, Witness as KelWitness } from '@keyturn/kel'
import { ed25519PublicKey, ed25519Sign, wipe } from '@keyturn/primitives'
import { VaultError } from '@keyturn/vault-kdf'
import type { Vault } from '@keyturn/vault-kdf'
import type { ServerContext } from '../context.ts'
import { maxLogBytes, maxNewEvents } from '../limits.ts'
import { witnessLogs } from './witness-logs.ts'

/** How often a log is judged again when another replica appended to it meanwhile. */
const tries = 5

/**
 * The witness of this server: `localWitness` of the kel package judges, this keeps its logs in the metadata store and
 * its key, which never turns, in the vault.
 */
export class Witness {
  readonly #context: ServerContext
  readonly #vault: Vault
  #witness: Promise<KelWitness> | undefined

  constructor(context: ServerContext, vault: Vault) {
    this.#context = context
    this.#vault = vault
  }

  /** The prefix to name in the witness list of an identity. */
  async prefix(): Promise<string> {
    return (await this.#ready()).prefix
  }

  /**
   * Shows the witness a log; it receipts each event that stands and names it.
   *
   * @returns Undefined while the last event waits for something.
   * @throws KelError, `KEL_DUPLICITY` for a second event at a place, `KEL_WITNESS` when the identity does not name it.
   */
  async receipts(stream: Uint8Array): Promise<Uint8Array | undefined> {
    const witness = await this.#ready()
    for (let attempt = 1; ; attempt++) {
      try {
        return await witness.submit(stream)
      } catch (error) {
        if (!(error instanceof KelError) || error.code !== 'KEL_CONFLICT' || attempt >= tries) throw error
      }
    }
  }

  /** The receipt that was given at a place; undefined when there is none. */
  async find(prefix: string, sn: number): Promise<Uint8Array | undefined> {
    return (await this.#ready()).find({ prefix, sn })
  }

  #ready(): Promise<KelWitness> {
    this.#witness ??= this.#open().catch((error: unknown) => {
      this.#witness = undefined
      throw error
    })
    return this.#witness
  }

  async #open(): Promise<KelWitness> {
    const publicKey = await this.#withSeed((seed) => ed25519PublicKey(seed))
    const signer: Signer = {
      publicKeys: [publicKey],
      sign: (message) => this.#withSeed((seed) => ed25519Sign(seed, message)),
    }
    return localWitness(signer, witnessLogs(this.#context.metadata), {
      maxBytes: maxLogBytes,
      maxNewEvents,
      clock: this.#context.clock,
    })
  }

  async #withSeed<T>(use: (seed: Uint8Array) => T): Promise<T> {
    const cell = this.#vault.partition('keyturn').cell('witness')
    const seed = await cell.open('seed').catch(async (error: unknown) => {
      if (!(error instanceof VaultError) || error.code !== 'VK_NOT_FOUND') throw error
      const fresh = this.#context.random(32)
      // Two replicas may try at once: the first one's key counts.
      await cell.seal('seed', fresh.slice(), { expected: 'absent' }).catch((cause: unknown) => {
        if (!(cause instanceof VaultError) || cause.code !== 'VK_CONFLICT') throw cause
      })
      wipe(fresh)
      return cell.open('seed')
    })
    try {
      return use(seed)
    } finally {
      wipe(seed)
    }
  }
}

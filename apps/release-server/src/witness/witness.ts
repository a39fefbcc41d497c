import { checkStream, KelError, writeReceipt } from '@keyturn/kel'
import { base64Decode, base64Encode, concatBytes, ed25519PublicKey, ed25519Sign, wipe } from '@keyturn/primitives'
import { VaultError } from '@keyturn/vault-kdf'
import type { Vault } from '@keyturn/vault-kdf'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import { eventsOf, witnessPrefix } from './receipt.ts'
import type { StreamEvent } from './receipt.ts'

/** What was receipted at a place. `raw` is missing in records of the first version. */
interface FirstSeen { readonly said: string; readonly type: string; readonly raw?: string }

function recordKey(prefix: string, sn: number): string {
  return `${prefix}/${String(sn).padStart(16, '0')}`
}

/** A witness: receipts each event it sees first at its place, and never another one there. Its key lies in the vault. */
export class Witness {
  readonly #context: ServerContext
  readonly #vault: Vault

  constructor(context: ServerContext, vault: Vault) {
    this.#context = context
    this.#vault = vault
  }

  /** The prefix to name in the witness list of an identity. */
  async prefix(): Promise<string> {
    return this.#withSeed((seed) => witnessPrefix(ed25519PublicKey(seed)))
  }

  /**
   * Checks a key event log and answers with a receipt for each of its events that stands, or that waits for nothing but
   * witnesses.
   *
   * @returns Undefined while the last event waits for something else.
   * @throws KelError for a log that does not hold, `KEL_DUPLICITY` for a second event at a place.
   */
  async receipts(stream: Uint8Array): Promise<Uint8Array | undefined> {
    const good = new Set<string>()
    const { messages } = checkStream(stream)
    for (const { said, verdict, code, explanation } of messages) {
      if (verdict.startsWith('accept') || verdict === 'escrow:partial-witness') good.add(said)
      else if (verdict.startsWith('reject') || verdict === 'duplicity') throw new KelError((code ?? 'KEL_DUPLICITY') as KelError['code'], explanation)
    }
    const last = messages.at(-1)?.verdict ?? ''
    const waits = last.startsWith('escrow:') && last !== 'escrow:partial-witness'
    const events = eventsOf(stream).filter(({ said }) => good.has(said))
    if (events.length === 0 && !waits) throw new ServerError('SRV_REQUEST', 'Cannot receipt anything: the stream holds no event that stands')
    if (events.length > 0) await this.#remember(events)
    if (waits) return undefined
    return this.#withSeed((seed) => {
      const publicKey = ed25519PublicKey(seed)
      return concatBytes(...events.map((event) => writeReceipt(event, witnessPrefix(publicKey), ed25519Sign(seed, event.raw))))
    })
  }

  /** The receipt that was given at a place; undefined when there is none. */
  async find(prefix: string, sn: number): Promise<Uint8Array | undefined> {
    const seen = (await this.#context.metadata.get('witnessed', recordKey(prefix, sn)))?.value as unknown as FirstSeen | undefined
    const { said, raw } = seen ?? {}
    if (said === undefined || raw === undefined) return undefined
    return this.#withSeed((seed) => {
      const witness = witnessPrefix(ed25519PublicKey(seed))
      return writeReceipt({ said, prefix, sn }, witness, ed25519Sign(seed, base64Decode(raw)))
    })
  }

  /** First seen wins, durably, before anything is signed. A rotation may take the place of an interaction. */
  async #remember(events: readonly StreamEvent[]): Promise<void> {
    const [first] = events
    await this.#context.metadata.transaction([`witness:${first?.prefix ?? ''}`], async (records) => {
      for (const { prefix, sn, said, type, raw } of events) {
        const key = recordKey(prefix, sn)
        const seen = (await records.get('witnessed', key))?.value as unknown as FirstSeen | undefined
        if (seen?.said === said) continue
        if (seen !== undefined && !(seen.type === 'ixn' && type === 'rot')) {
          throw new KelError('KEL_DUPLICITY', `Another event was receipted at sn ${sn} of ${prefix}`, { details: { sn, seen: seen.said, said } })
        }
        await records.put('witnessed', { key, value: { said, type, raw: base64Encode(raw) } })
      }
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

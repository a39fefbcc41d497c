import { setImmediate as nextTurn } from 'node:timers/promises'
import { KelError, parsePin } from '@keyturn/kel'
import { localWitness } from '@keyturn/kel/witness'
import type { Signer } from '@keyturn/kel/owner'
import type { Witness as KelWitness } from '@keyturn/kel/witness'
import { ed25519PublicKey, ed25519Sign, parseStrictJson, utf8Decode, utf8Encode, wipe } from '@keyturn/primitives'
import { VaultError } from '@keyturn/vault-kdf'
import type { Vault } from '@keyturn/vault-kdf'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import { MAX_NEW_EVENTS, MAX_STRANGER_LOG_BYTES, MAX_WITNESSED_LOG_BYTES } from '../limits.ts'
import { products } from '../releases/products.ts'
import { collection } from '../storage/collection.ts'
import type { NewEntry } from '../storage/collection.ts'
import { object, text, whole } from '../storage/shape.ts'
import { hasAttester } from './attestations.ts'
import { BusyQueue } from './verify-in-turn.ts'
import { recordKey, witnessLogs, witnessTips } from './witness-logs.ts'

/** How often a submission is tried again when another replica appended to the log first. */
const MAX_TRIES = 5
/** Receipts in one write; other requests come in between. */
const RECEIPTS_PER_WRITE = 100
/** Identities of strangers that this witness serves: their logs are stored for anybody who asks. */
const MAX_STRANGERS = 10_000

/** Receipts that were given, by the place of their event: reading one again verifies nothing. */
const receipts = collection('witness-receipts', object<object>({}))

/** How many records of a log are covered by {@link receipts}. */
const complete = collection('witness-complete', object<{ readonly count: number }>({ count: whole }))

const receiptFields = object<{ readonly i: string; readonly s: string }>({ i: text, s: text })

/** Splits a stream of receipts, each with the place it is about. Attachments hold no brace, so each starts at one. */
function splitReceipts(stream: Uint8Array): NewEntry<object>[] {
  return utf8Decode(stream)
    .split(/(?=\{"v":")/)
    .map((receipt) => {
      const body = receipt.slice(0, receipt.indexOf('}') + 1)
      const { i, s } = receiptFields(parseStrictJson(utf8Encode(body)), '')
      return { key: recordKey(i, Number.parseInt(s, 16)), value: {}, body: utf8Encode(receipt) }
    })
}

/** The identity that a stream is about, as its first event says; undefined for a stream that kel will refuse anyway. */
function prefixOf(stream: Uint8Array): string | undefined {
  const start = new TextDecoder('latin1').decode(stream.subarray(0, 512))
  return /^\{"v":"[^"]*","t":"[a-z]*","d":"[^"]*","i":"([A-Za-z0-9_-]{44})"/.exec(start)?.[1]
}

/**
 * The witness of this server: `localWitness` of the kel package decides, this keeps its logs in the metadata store and
 * its key, which is never rotated, in the vault. Anybody may ask it, so what costs the processor is done one at a time,
 * and what was receipted once is read from its own record.
 */
export class Witness {
  readonly #context: ServerContext
  readonly #vault: Vault
  readonly #queue = new BusyQueue('The witness')
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
   * Shows the witness a log; it receipts each event that is valid and names it.
   *
   * @returns Undefined while the last event waits for something.
   * @throws KelError, `KEL_DUPLICITY` for a second event at a place, `KEL_WITNESS` when the identity does not name it;
   * ServerError `SRV_RATE` while others wait, `SRV_LIMIT` for one stranger too many or a long log of a stranger.
   */
  async receipts(stream: Uint8Array): Promise<Uint8Array | undefined> {
    const prefix = prefixOf(stream)
    await this.#requireRoom(prefix, stream.length)
    return this.#queue.run(async () => {
      const given = await this.#submit(stream)
      if (prefix !== undefined) await this.#store(prefix, given)
      return given
    })
  }

  /** The receipt that was given at a place; undefined when there is none. */
  async find(prefix: string, sn: number): Promise<Uint8Array | undefined> {
    const { metadata } = this.#context
    const stored = await receipts.body(metadata, recordKey(prefix, sn))
    if (stored !== undefined || (await this.#isComplete(prefix))) return stored
    // A log from before receipts had records of their own, or a process that died between two writes.
    await this.#queue.run(async () => {
      const log = await witnessLogs(metadata).log(prefix).read()
      if (log !== undefined) await this.#store(prefix, await this.#submit(log.stream))
    })
    return receipts.body(metadata, recordKey(prefix, sn))
  }

  /** Whether every receipt of a log is in its record, so that a place without one has none. */
  async #isComplete(prefix: string): Promise<boolean> {
    const { metadata } = this.#context
    const tip = await witnessTips.get(metadata, prefix)
    return tip === undefined || (await complete.get(metadata, prefix))?.count === tip.count
  }

  async #submit(stream: Uint8Array): Promise<Uint8Array | undefined> {
    const witness = await this.#ready()
    for (let attempt = 1; ; attempt++) {
      try {
        return await witness.submit(stream)
      } catch (error) {
        if (!(error instanceof KelError) || error.code !== 'KEL_CONFLICT' || attempt >= MAX_TRIES) throw error
      }
    }
  }

  async #store(prefix: string, given: Uint8Array | undefined): Promise<void> {
    const entries = given === undefined ? [] : splitReceipts(given)
    const lock = `witness:${prefix}`
    for (let from = 0; from < entries.length; from += RECEIPTS_PER_WRITE) {
      const some = entries.slice(from, from + RECEIPTS_PER_WRITE)
      await this.#context.metadata.transaction([lock], (records) => receipts.put(records, ...some))
      await nextTurn()
    }
    await this.#context.metadata.transaction([lock], async (records) => {
      const tip = await witnessTips.get(records, prefix)
      if (tip !== undefined) await complete.put(records, { key: prefix, value: { count: tip.count } })
    })
  }

  /** Identities of this server's products and attesters are always served; others are limited in number and in length of log. */
  async #requireRoom(prefix: string | undefined, length: number): Promise<void> {
    const { metadata } = this.#context
    const isShort = length <= MAX_STRANGER_LOG_BYTES
    if (isShort && (prefix === undefined || (await witnessTips.get(metadata, prefix)) !== undefined)) return
    if (prefix !== undefined && (await this.#isOurs(prefix))) return
    const hint = 'Ask the operator to create a product with this identity, or use another witness'
    // A megabyte of events takes a second of the processor, one log at a time: others would wait for it.
    if (!isShort)
      throw new ServerError(
        'SRV_LIMIT',
        `Log of ${length} bytes; of an identity that this server does not know, it takes ${MAX_STRANGER_LOG_BYTES}`,
        { hint },
      )
    const known = await witnessTips.list(metadata, { limit: MAX_STRANGERS })
    if (known.length >= MAX_STRANGERS)
      throw new ServerError('SRV_LIMIT', 'This witness serves no more identities', { hint })
  }

  async #isOurs(prefix: string): Promise<boolean> {
    const { metadata } = this.#context
    return (
      (await products.all(metadata)).some(
        ({ value }) => value.pin.startsWith('did:keri:') && parsePin(value.pin).prefix === prefix,
      ) || (await hasAttester(metadata, prefix))
    )
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
      maxBytes: MAX_WITNESSED_LOG_BYTES,
      maxNewEvents: MAX_NEW_EVENTS,
      clock: this.#context.clock,
      pause: nextTurn,
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

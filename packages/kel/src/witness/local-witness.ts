import { concatBytes, ed25519Verify, systemClock } from '@keyturn/primitives'
import type { Clock } from '@keyturn/primitives'
import { Kel } from '../kel.ts'
import { keyText } from '../keys.ts'
import { MAX_LOG_BYTES } from '../limits.ts'
import type { VerifiedEvent } from '../log.ts'
import { memoryStore } from '../memory-store.ts'
import { parseMessage } from '../message.ts'
import { Pace } from '../pace.ts'
import type { Pause } from '../pace.ts'
import { refusal } from '../rule.ts'
import type { Signer } from '../signer.ts'
import type { KelStore, LogStorage } from '../storage.ts'
import { plainBytes, readFrame, readFrames } from '../stream.ts'
import type { EventPlace, Witness } from '../witness.ts'
import { writeReceipt } from './write-receipt.ts'

const prefixForm = /^[A-Za-z0-9_-]{44}$/

/** Options of {@link localWitness}. */
export interface LocalWitnessOptions {
  /** Largest log it takes, bytes. Default 4 MiB. */
  readonly maxBytes?: number | undefined
  /**
   * Most events that are new to it in one submission; a longer log is shown in pieces, its beginning first. Each event
   * costs two durable writes. Default: no limit.
   */
  readonly maxNewEvents?: number | undefined
  readonly clock?: Clock | undefined
  /** Awaited after every event or so, so that a long log holds up nobody else. Default: no pause. */
  readonly pause?: Pause | undefined
}

/**
 * A witness in this process. What it has seen is in its store, durably, before it signs; so it still signs nothing else
 * after a restart. It stores logs only of identities that name it.
 *
 * @param signer - Its key: the first one of the signer.
 * @param store - Where it keeps the logs; its own, shared with nobody.
 */
export function localWitness(signer: Signer, store: KelStore, options: LocalWitnessOptions = {}): Witness {
  const [publicKey] = signer.publicKeys
  if (publicKey === undefined) throw new RangeError('A witness needs a key')
  return new LocalWitness(publicKey, signer, store, options)
}

class LocalWitness implements Witness {
  readonly prefix: string
  readonly #publicKey: Uint8Array
  readonly #signer: Signer
  readonly #store: KelStore
  readonly #maxBytes: number
  readonly #maxNewEvents: number
  readonly #clock: Clock
  readonly #pause: Pause | undefined
  /** The last task of each identity: two logs of one identity are never verified at once. */
  readonly #tasks = new Map<string, Promise<unknown>>()

  constructor(publicKey: Uint8Array, signer: Signer, store: KelStore, options: LocalWitnessOptions) {
    const { maxBytes = MAX_LOG_BYTES, maxNewEvents = Number.POSITIVE_INFINITY, clock = systemClock } = options
    this.prefix = keyText(publicKey, false)
    this.#publicKey = publicKey
    this.#signer = signer
    this.#store = store
    this.#maxBytes = maxBytes
    this.#maxNewEvents = maxNewEvents
    this.#clock = clock
    this.#pause = options.pause
  }

  async submit(log: Uint8Array): Promise<Uint8Array | undefined> {
    if (log.length > this.#maxBytes) throw refusal('KEL_LIMIT', `Log of ${log.length} bytes, limit ${this.#maxBytes}`)
    const messages = [...readFrames(plainBytes(log))].map(({ bytes }) => bytes)
    const [first] = messages
    if (first === undefined) throw refusal('KEL_PARSE', 'Nothing to witness: the log is empty')
    const { prefix } = parseMessage(readFrame(first, 0)).event
    return await this.#inTurn(prefix, () => this.#witness(prefix, messages))
  }

  async find({ prefix, sn }: EventPlace): Promise<Uint8Array | undefined> {
    if (!prefixForm.test(prefix)) return undefined
    const storage = this.#store.log(prefix)
    if ((await storage.read()) === undefined) return undefined
    const kel = await this.#open(storage, prefix)
    const event = kel.events[sn]
    return event !== undefined && this.#isNamed(kel, event) ? await this.#receipt(kel, event) : undefined
  }

  async #inTurn<T>(prefix: string, task: () => Promise<T>): Promise<T> {
    const running = (this.#tasks.get(prefix) ?? Promise.resolve()).then(task, task)
    this.#tasks.set(prefix, running)
    try {
      return await running
    } finally {
      if (this.#tasks.get(prefix) === running) this.#tasks.delete(prefix)
    }
  }

  #open(storage: LogStorage, prefix: string): Promise<Kel> {
    // Besides the log that its readers take, the copy of a witness holds a receipt for each event.
    const maxLogBytes = 3 * Math.max(MAX_LOG_BYTES, this.#maxBytes)
    return Kel.open(storage, prefix, { witness: this.prefix, clock: this.#clock, pause: this.#pause, maxLogBytes })
  }

  #isNamed(kel: Kel, event: VerifiedEvent): boolean {
    return kel.keyStateAt(event.sn)?.witnesses.includes(this.prefix) === true
  }

  async #witness(prefix: string, messages: readonly Uint8Array[]): Promise<Uint8Array | undefined> {
    const storage = this.#store.log(prefix)
    if ((await storage.read()) === undefined) await this.#refuseStranger(prefix, messages)
    const kel = await this.#open(storage, prefix)
    const pace = new Pace(this.#pause)
    const shown = new Set<string>()
    for (const bytes of messages) {
      shown.add(parseMessage(readFrame(bytes, 0)).event.said)
      if (pace.isDue(bytes.length)) await pace.pause()
    }
    this.#refuseTooMany(kel, shown)
    const waiting = await this.#appendAll(kel, messages)
    const receipts: Uint8Array[] = []
    for (const event of kel.events) {
      if (!shown.has(event.said) || !this.#isNamed(kel, event)) continue
      const given = this.#given(kel, event)
      const receipt = await this.#receipt(kel, event)
      if (given === undefined) await kel.append(receipt, 'remote')
      receipts.push(receipt)
      await this.#pause?.()
    }
    return waiting || receipts.length === 0 ? undefined : concatBytes(...receipts)
  }

  /** True when an event has to wait for something. A message may cost durable writes: a pause follows each. */
  async #appendAll(kel: Kel, messages: readonly Uint8Array[]): Promise<boolean> {
    for (const message of messages) {
      await kel.append(message, 'remote')
      await this.#pause?.()
    }
    return kel.waiting.length > 0
  }

  /** Logs of others are not kept: one that is new here is tried in memory first. */
  async #refuseStranger(prefix: string, messages: readonly Uint8Array[]): Promise<void> {
    const trial = await this.#open(memoryStore().log(prefix), prefix)
    await this.#appendAll(trial, messages)
    if (trial.events.some((event) => this.#isNamed(trial, event))) return
    throw refusal('KEL_WITNESS', `Identity ${prefix} does not name witness ${this.prefix}`)
  }

  /** What is new costs durable writes; it is counted before the first of them. */
  #refuseTooMany(kel: Kel, shown: ReadonlySet<string>): void {
    const known = new Set(kel.firstSeen)
    const fresh = [...shown].filter((said) => !known.has(said)).length
    if (fresh > this.#maxNewEvents) {
      throw refusal(
        'KEL_LIMIT',
        `${fresh} new events in one submission, limit ${this.#maxNewEvents}: show the beginning of the log first`,
      )
    }
  }

  /** Its signature on an event, when it gave one before. */
  #given(kel: Kel, event: VerifiedEvent): Uint8Array | undefined {
    const place = kel.keyStateAt(event.sn)?.witnesses.indexOf(this.prefix) ?? -1
    return kel.witnessesOf(event.said).get(place)
  }

  async #receipt(kel: Kel, event: VerifiedEvent): Promise<Uint8Array> {
    const signature = this.#given(kel, event) ?? (await this.#sign(event))
    return writeReceipt({ said: event.said, prefix: kel.prefix, sn: event.sn }, this.prefix, signature)
  }

  async #sign(event: VerifiedEvent): Promise<Uint8Array> {
    const signature = new Uint8Array(await this.#signer.sign(event.raw, 0))
    if (!ed25519Verify(this.#publicKey, event.raw, signature))
      throw refusal('KEL_SIGNATURE', 'Signer of the witness returned a wrong signature')
    return signature
  }
}

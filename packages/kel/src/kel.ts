import { systemClock } from '@keyturn/primitives'
import type { Clock } from '@keyturn/primitives'
import { Intake } from './intake.ts'
import { KelError } from './errors.ts'
import type { KeyState } from './key-state.ts'
import type { Accepted, EventLog, VerifiedEvent } from './log.ts'
import { isKeyEvent, parseMessage } from './message.ts'
import type { Message } from './message.ts'
import { MAX_DUPLICITY_PROOFS, MAX_LOG_BYTES } from './limits.ts'
import { refusal } from './rule.ts'
import type { EventSource, LogRecord, LogStorage } from './storage.ts'
import type { Pause } from './pace.ts'
import { plainBytes, readFrame } from './stream.ts'
import type { Frame } from './stream.ts'
import { replayStored } from './replay.ts'
import type { EscrowLimits, WaitingEvent } from './escrow.ts'
import { checkNextDigests } from './next-keys.ts'
import type { VerifyContext } from './verify-event.ts'
import { checkSize, workLimit, workOf, workOfStream } from './work.ts'

/** Options of {@link Kel.open}. */
export interface KelOptions extends EscrowLimits {
  /**
   * True when this side holds the keys of the identity: then events from outside are refused, whatever their
   * signatures. Default `false`.
   */
  readonly own?: boolean | undefined
  /** `'keripy'`: read a foreign log as keripy would. Default: strict. */
  readonly lenient?: 'keripy' | undefined
  /** Finds the log of a delegator. Default: none is known. */
  readonly delegator?: VerifyContext['delegator'] | undefined
  /**
   * Prefix of the witness that keeps this copy: events that name it are accepted before the other witnesses have
   * signed.
   */
  readonly witness?: string | undefined
  readonly clock?: Clock | undefined
  /** Awaited now and then while a long log is opened, so that other work comes in between. Default: no pause. */
  readonly pause?: Pause | undefined
  /**
   * Largest log, bytes, with the work that `verifyLog` takes on for it: what is longer is neither opened nor appended
   * to. Interactions of our own leave a sixteenth of it free for rotations. Default 4 MiB.
   */
  readonly maxLogBytes?: number | undefined
}

/** What became of an appended message. */
export interface AppendResult {
  /**
   * `accepted`: in the log and stored; `known`: was there already; `waiting`: held in escrow; `receipt`: new signatures
   * stored.
   */
  readonly outcome: 'accepted' | 'known' | 'waiting' | 'receipt'
  /** A sentence for people. */
  readonly explanation: string
  /** Events that were accepted: the message itself and those that had waited for it. */
  readonly accepted: readonly VerifiedEvent[]
  readonly warnings: readonly string[]
}

/** A stored log that was replayed. */
interface OpenedLog {
  readonly prefix: string
  readonly storage: LogStorage
  readonly intake: Intake
  readonly options: KelOptions
  /** Version of the content that was replayed; undefined when there was none. */
  readonly version: string | undefined
  readonly stream: Uint8Array
  readonly warnings: readonly string[]
}

const EMPTY = new Uint8Array(0)

/**
 * The log of one identity, with its store: nothing is stored that has not passed every rule, and what is stored is
 * appended, never changed.
 */
export class Kel {
  readonly prefix: string
  /** What was noticed on opening: a torn tail that was cut (`KEL_RECOVERED`), leniency. */
  readonly warnings: readonly string[]
  readonly #storage: LogStorage
  readonly #intake: Intake
  readonly #options: KelOptions
  #version: string | undefined
  #bytes: number
  #work: number

  private constructor(opened: OpenedLog) {
    this.prefix = opened.prefix
    this.warnings = opened.warnings
    this.#storage = opened.storage
    this.#intake = opened.intake
    this.#options = opened.options
    this.#version = opened.version
    this.#bytes = opened.stream.length
    this.#work = workOfStream(opened.stream)
  }

  /**
   * Opens a log and verifies all of it.
   *
   * @param storage - Its store.
   * @param prefix - The identity; must be the one that the stored events belong to.
   * @throws {@link KelError} `KEL_CORRUPT` when a stored event before the last is not valid, `KEL_LIMIT` when the log is
   *   larger than `maxLogBytes` or asks for more work, `KEL_WITNESS` when all that is missing are witness signatures.
   */
  static async open(storage: LogStorage, prefix: string, options: KelOptions = {}): Promise<Kel> {
    const intake = new Intake({ ...options, clock: options.clock ?? systemClock })
    const stored = await storage.read()
    const stream = plainBytes(stored?.stream ?? EMPTY)
    checkSize(stream, options.maxLogBytes ?? MAX_LOG_BYTES)
    const warnings = await replayStored(stream, prefix, intake, options)
    return new Kel({ prefix, storage, intake, options, version: stored?.version, stream, warnings })
  }

  get #log(): EventLog {
    return this.#intake.logOf(this.prefix)
  }

  /** False until the inception is in. */
  get isStarted(): boolean {
    return this.#log.isStarted
  }

  /** The key state after the last accepted event. */
  get state(): KeyState {
    return this.#log.state
  }

  /** The accepted chain; index equal to sequence number. */
  get events(): readonly VerifiedEvent[] {
    return this.#log.events
  }

  /** Interactions that a rotation displaced. */
  get superseded(): readonly VerifiedEvent[] {
    return this.#log.superseded
  }

  /** SAIDs in first-seen order. */
  get firstSeen(): readonly string[] {
    return this.#log.firstSeen
  }

  /** Events that wait for something. */
  get waiting(): readonly WaitingEvent[] {
    return this.#intake.waiting
  }

  /** Drops an event that waits. Returns false when it does not. */
  forget(said: string): boolean {
    const waits = this.#intake.waitingEvent(said) !== undefined
    this.#intake.forget(said)
    return waits
  }

  /** The key state right after the event at a sequence number. */
  keyStateAt(sn: number): KeyState | undefined {
    return this.#log.stateAt(sn)
  }

  /** Verified witness signatures on an accepted event, by place in the witness list. */
  witnessesOf(said: string): ReadonlyMap<number, Uint8Array> {
    return this.#log.witnessesOf(said)
  }

  /**
   * Takes one message: validates it completely, then stores it, then goes on with what waited for it.
   *
   * @param bytes - Body and attachments of one event or receipt.
   * @param source - Who brings it: `'local'` for what this side made or chose, `'remote'` (default) for anything else.
   * @throws {@link KelError} the rule that was broken; `KEL_DUPLICITY` (evidence is kept), `KEL_MISFIT`,
   *   `KEL_CONFLICT`, `KEL_KEY_REUSED` for a local event that promises a key which is or was in force.
   */
  async append(bytes: Uint8Array, source: EventSource = 'remote'): Promise<AppendResult> {
    const message = parseMessage(oneFrame(plainBytes(bytes)), { lenient: this.#options.lenient })
    if (message.event.prefix !== this.prefix) {
      throw refusal(
        'KEL_PREFIX',
        `Event ${message.event.sn} belongs to ${message.event.prefix}, the log to ${this.prefix}`,
      )
    }
    if (!isKeyEvent(message)) return await this.#appendReceipt(message, source)
    if (
      source === 'remote' &&
      this.#options.own === true &&
      this.#log.eventAt(message.event.sn)?.said !== message.event.said
    ) {
      throw refusal('KEL_MISFIT', `Event ${message.event.sn} of our own identity came from outside`)
    }
    if (source === 'local' && this.#log.eventAt(message.event.sn)?.said !== message.event.said)
      checkNextDigests(message.event, this.#log.events)
    const verdict = this.#intake.offer(message)
    const { explanation } = verdict
    if (verdict.verdict === 'escrow')
      return { outcome: 'waiting', explanation, accepted: [], warnings: message.event.warnings }
    if (verdict.verdict === 'idempotent') return { outcome: 'known', explanation, accepted: [], warnings: [] }
    if (verdict.verdict === 'duplicity') {
      const { against } = verdict
      // A hostile owner can sign rivals without end; a few prove as much as many.
      if ((await this.#storage.duplicities()).length < MAX_DUPLICITY_PROOFS)
        await this.#storage.keepDuplicity({
          said: message.event.said,
          message: message.bytes,
          against: against.said,
          againstMessage: against.message,
        })
      throw refusal('KEL_DUPLICITY', explanation, { rule: 'order', against: against.said, said: message.event.said })
    }
    await this.#store(verdict, source)
    const accepted = [verdict.event, ...(await this.#drain(source))]
    return { outcome: 'accepted', explanation, accepted, warnings: verdict.warnings }
  }

  async #appendReceipt(message: Message, source: EventSource): Promise<AppendResult> {
    const verdict = this.#intake.offerReceipt(message)
    const { explanation } = verdict
    if (verdict.verdict === 'escrow') {
      const accepted = await this.#drain(source)
      return { outcome: accepted.length > 0 ? 'accepted' : 'waiting', explanation, accepted, warnings: [] }
    }
    if (verdict.witnesses.size === 0) return { outcome: 'known', explanation, accepted: [], warnings: [] }
    await this.#write({ said: verdict.event.said, sn: verdict.event.sn, type: 'rct', message: message.bytes }, source)
    return { outcome: 'receipt', explanation, accepted: [], warnings: [] }
  }

  async #write(record: Pick<LogRecord, 'said' | 'sn' | 'type' | 'message'>, source: EventSource): Promise<void> {
    const seenAtMs = (this.#options.clock ?? systemClock)()
    const firstSeen = this.#log.firstSeen.length
    const work = this.#requireRoom(record, source)
    this.#version = await this.#storage.append({ ...record, firstSeen, seenAtMs, source }, this.#version)
    this.#bytes += record.message.length
    this.#work += work
  }

  /** Nothing is stored that the next opening, or another reader of the log, would refuse for its size. */
  #requireRoom({ type, sn, message }: Pick<LogRecord, 'type' | 'sn' | 'message'>, source: EventSource): number {
    const { maxLogBytes = MAX_LOG_BYTES } = this.#options
    const share = type === 'ixn' && source === 'local' ? 15 / 16 : 1
    const work = workOf(oneFrame(message))
    const fits =
      this.#bytes + message.length <= maxLogBytes * share && this.#work + work <= workLimit(maxLogBytes) * share
    if (fits) return work
    throw refusal('KEL_LIMIT', `No room for event ${sn}: the log has ${this.#bytes} bytes, limit ${maxLogBytes}`)
  }

  async #store(accepted: Accepted, source: EventSource): Promise<void> {
    const { said, sn, type, message } = accepted.event
    await this.#write({ said, sn, type, message }, source)
    this.#intake.commit(accepted)
  }

  async #drain(source: EventSource): Promise<VerifiedEvent[]> {
    const accepted: VerifiedEvent[] = []
    for (let next = this.#intake.release(); next !== undefined; next = this.#intake.release()) {
      await this.#store(next, source)
      accepted.push(next.event)
    }
    return accepted
  }

  /** The whole log as a plain CESR stream, in first-seen order: what keripy and signify read. */
  async export(): Promise<Uint8Array> {
    const stored = await this.#storage.read()
    if (stored === undefined) throw new KelError('KEL_SEQ', `Log of ${this.prefix} is empty`)
    return stored.stream
  }
}

function oneFrame(bytes: Uint8Array): Frame {
  const frame = readFrame(bytes, 0)
  if (frame.bytes.length !== bytes.length) throw refusal('KEL_PARSE', 'More than one message where one is expected')
  return frame
}

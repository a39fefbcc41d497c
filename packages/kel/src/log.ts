import type { JsonValue } from '@keyturn/primitives'
import { isRotation } from './event.ts'
import type { EventType, KeyEvent, RotationEvent } from './event.ts'
import { judgeEvent } from './judge.ts'
import type { Acceptance, DelegatorLog, Escrowed, JudgeContext } from './judge.ts'
import type { KeyState } from './key-state.ts'
import type { Message } from './message.ts'
import { refusal } from './rule.ts'

/** An event that the whole of the rules has passed. */
export interface VerifiedEvent {
  readonly sn: number
  readonly said: string
  readonly type: EventType
  /** The anchors (`a`) of the event. */
  readonly seals: readonly JsonValue[]
  /** Ed25519 keys in force from this event on. */
  readonly keys: readonly Uint8Array[]
  /** The exact body. */
  readonly raw: Uint8Array
  /** Body and attachments as they came. */
  readonly message: Uint8Array
  /** SAID of the event before; undefined for an inception. */
  readonly prior: string | undefined
}

/** A verified event over the bytes of its message. Plain and small: a log has many. */
export class LogEvent implements VerifiedEvent {
  readonly sn: number
  readonly said: string
  readonly type: EventType
  readonly seals: readonly JsonValue[]
  readonly keys: readonly Uint8Array[]
  readonly message: Uint8Array
  readonly prior: string | undefined
  readonly #bodyLength: number

  constructor({ event, bytes }: Message<KeyEvent>, keys: readonly Uint8Array[]) {
    this.sn = event.sn
    this.said = event.said
    this.type = event.type
    this.seals = event.seals
    this.keys = keys
    this.message = bytes
    this.prior = event.prior
    this.#bodyLength = event.raw.length
  }

  get raw(): Uint8Array {
    return this.message.subarray(0, this.#bodyLength)
  }
}

/** Accepted, and what it displaces. */
export interface Accepted extends Acceptance {
  readonly explanation: string
  readonly event: VerifiedEvent
  /** Number of interactions at the end of the log that this rotation supersedes. */
  readonly superseding: number
  readonly warnings: readonly string[]
}

/** Known already; `superseded` when a rotation has displaced it since. */
export interface Repeated {
  readonly verdict: 'idempotent'
  readonly superseded: boolean
  readonly explanation: string
}

/** A second event, rightly signed, at a place that is taken. */
export interface Duplicity {
  readonly verdict: 'duplicity'
  readonly against: VerifiedEvent
  readonly explanation: string
}

/** What becomes of a message that is not refused. */
export type Judgement = Accepted | Repeated | Duplicity | Escrowed

/**
 * The log of one identity in memory: first-seen order, the accepted chain, and the state it leads to. Judging changes
 * nothing; {@link EventLog.apply} takes over a judgement.
 */
export class EventLog implements DelegatorLog {
  readonly prefix: string
  readonly #accepted: VerifiedEvent[] = []
  readonly #superseded: VerifiedEvent[] = []
  readonly #firstSeen: string[] = []
  /** States after each inception or rotation of the accepted chain. */
  readonly #establishments: KeyState[] = []
  readonly #witnessed = new Map<string, ReadonlyMap<number, Uint8Array>>()
  readonly #keepsMessages: boolean
  #state: KeyState | undefined

  /**
   * @param prefix - The identity.
   * @param keepsMessages - `false` keeps of each event what the rules need and lets its bytes go: for long logs that are
   * only to be verified. Then receipts for events that are accepted already cannot be counted.
   */
  constructor(prefix: string, keepsMessages = true) {
    this.prefix = prefix
    this.#keepsMessages = keepsMessages
  }

  /**
   * A log that goes on from a state that was verified before: earlier events are not known any more, and nothing may
   * refer to them.
   *
   * @param establishment - The state after the last inception or rotation.
   * @param tail - That event and the interactions behind it.
   */
  static resume(establishment: KeyState, tail: readonly VerifiedEvent[], keepsMessages = true): EventLog {
    const log = new EventLog(establishment.prefix, keepsMessages)
    for (const event of tail) log.#accepted[event.sn] = event
    log.#establishments.push(establishment)
    const last = tail.at(-1) as VerifiedEvent
    log.#state = { ...establishment, sn: last.sn, said: last.said, type: last.type }
    return log
  }

  /** False until an inception was accepted. */
  get isStarted(): boolean {
    return this.#state !== undefined
  }

  /** The state after the last accepted event. Throws before the inception. */
  get state(): KeyState {
    if (this.#state === undefined) throw refusal('KEL_SEQ', `Log of ${this.prefix} has no inception`)
    return this.#state
  }

  /** The accepted chain, one event per sequence number. */
  get events(): readonly VerifiedEvent[] {
    return this.#accepted
  }

  /** Interactions that a later rotation displaced, in first-seen order. */
  get superseded(): readonly VerifiedEvent[] {
    return this.#superseded
  }

  /** SAIDs in the order in which their events were accepted; superseded ones stay. */
  get firstSeen(): readonly string[] {
    return this.#firstSeen
  }

  /** The accepted event at a sequence number. */
  eventAt(sn: number): VerifiedEvent | undefined {
    return this.#accepted[sn]
  }

  /** The state right after the accepted event at a sequence number. */
  stateAt(sn: number): KeyState | undefined {
    const event = this.#accepted[sn]
    if (event === undefined) return undefined
    const { said, type } = event
    const establishment = this.#establishments.findLast((state) => state.sn <= sn)
    return establishment === undefined ? undefined : { ...establishment, sn, said, type }
  }

  /** Verified witness signatures on an accepted event, by place in the witness list in force for it. */
  witnessesOf(said: string): ReadonlyMap<number, Uint8Array> {
    return this.#witnessed.get(said) ?? noWitnesses
  }

  /**
   * Decides what becomes of an event. Changes nothing.
   *
   * @throws {@link KelError} when the event is refused.
   */
  judge(message: Message<KeyEvent>, context: JudgeContext): Judgement {
    const { event } = message
    const last = this.#state
    if (last === undefined || event.sn > last.sn) return this.#judgeNext(last, message, context)
    const held = this.#accepted[event.sn]
    if (held === undefined)
      throw refusal('KEL_SEQ', `Event ${event.sn} lies before the state that this log goes on from`)
    if (held.said === event.said) return this.#judgeRepeat(message, context, false)
    if (this.#superseded.some(({ said }) => said === event.said)) return this.#judgeRepeat(message, context, true)
    if (isRotation(event) && event.sn > last.lastEstablishment.sn)
      return this.#judgeRecovery(message as Message<RotationEvent>, context)
    return this.#judgeRival(message, held, context)
  }

  #judgeNext(last: KeyState | undefined, message: Message<KeyEvent>, context: JudgeContext): Judgement {
    const { event } = message
    if (last !== undefined && last.nextDigests.length === 0) {
      throw refusal('KEL_ABANDONED', `Event ${event.sn} follows event ${last.sn}, which promised no next key`)
    }
    if (last !== undefined && event.sn > last.sn + 1) {
      return {
        verdict: 'escrow',
        kind: 'out-of-order',
        explanation: `Event ${event.sn} waits for event ${last.sn + 1}`,
      }
    }
    return this.#accept(last, message, context, 0)
  }

  /** Superseding recovery: a rotation may displace the interactions behind the last establishment. */
  #judgeRecovery(message: Message<RotationEvent>, context: JudgeContext): Judgement {
    const { event } = message
    return this.#accept(this.stateAt(event.sn - 1), message, context, this.#accepted.length - event.sn)
  }

  #accept(
    base: KeyState | undefined,
    message: Message<KeyEvent>,
    context: JudgeContext,
    superseding: number,
  ): Judgement {
    const judged = judgeEvent(base, message, context)
    if (judged.verdict === 'escrow') return judged
    const verified = new LogEvent(message, judged.state.publicKeys)
    const { event } = message
    const { state, signatures, witnesses } = judged
    const recovery =
      superseding === 0
        ? ''
        : `; supersedes ${superseding} interaction${superseding === 1 ? '' : 's'} from ${event.sn} on`
    return {
      verdict: 'accept',
      state,
      signatures,
      witnesses,
      explain: judged.explain,
      event: verified,
      superseding,
      warnings: event.warnings,
      get explanation() {
        return judged.explain() + recovery
      },
    }
  }

  /** The same event again: its signatures must still be good, so that late ones may be added. */
  #judgeRepeat(message: Message<KeyEvent>, context: JudgeContext, superseded: boolean): Judgement {
    const { event } = message
    if (!superseded) {
      const judged = judgeEvent(event.sn === 0 ? undefined : this.stateAt(event.sn - 1), message, context)
      if (judged.verdict === 'escrow')
        return { verdict: 'idempotent', superseded, explanation: `event ${event.sn} is known already` }
    }
    const explanation = superseded
      ? `event ${event.sn} is known, a rotation superseded it`
      : `event ${event.sn} is known already`
    return { verdict: 'idempotent', superseded, explanation }
  }

  /** Another event at a place that is taken: evidence if it would have been accepted there, refused otherwise. */
  #judgeRival(message: Message<KeyEvent>, held: VerifiedEvent, context: JudgeContext): Judgement {
    const { event } = message
    const judged = judgeEvent(event.sn === 0 ? undefined : this.stateAt(event.sn - 1), message, context)
    if (judged.verdict === 'escrow' && (judged.kind === 'partial-signature' || judged.kind === 'out-of-order')) {
      throw refusal('KEL_SEQ', `Event ${event.sn} is taken by ${held.said}, and its rival is not fully signed`)
    }
    const explanation = `a second event ${event.sn}, ${event.said}, is rightly signed; ${held.said} was seen first and stays`
    return { verdict: 'duplicity', against: held, explanation }
  }

  /** Takes over an acceptance. */
  apply(accepted: Accepted): void {
    const { event, state, superseding, witnesses } = accepted
    if (witnesses.size > 0) this.#witnessed.set(event.said, witnesses)
    if (superseding > 0) this.#superseded.push(...this.#accepted.splice(event.sn))
    this.#accepted.push(this.#keepsMessages ? event : withoutMessage(event))
    this.#firstSeen.push(event.said)
    if (event.type !== 'ixn') this.#establishments.push(state)
    this.#state = state
  }

  /** Adds verified witness signatures that came later. */
  addWitnesses(said: string, witnesses: ReadonlyMap<number, Uint8Array>): void {
    this.#witnessed.set(said, new Map([...this.witnessesOf(said), ...witnesses]))
  }
}

function withoutMessage({ sn, said, type, keys, prior }: VerifiedEvent): VerifiedEvent {
  return { sn, said, type, keys, prior, seals: [], raw: noBytes, message: noBytes }
}

const noBytes = new Uint8Array(0)
const noWitnesses: ReadonlyMap<number, Uint8Array> = new Map()

import { equalBytes } from '@keyturn/primitives'
import type { JsonValue } from '@keyturn/primitives'
import { isRotation } from './event.ts'
import type { EventType, KeyEvent, RotationEvent } from './event.ts'
import type { KeyState } from './key-state.ts'
import type { Message } from './message.ts'
import { refusal } from './rule.ts'
import { verifyIndexed } from './signatures.ts'
import { isSealOf, sealedSaids, verifyEvent } from './verify-event.ts'
import type { Acceptance, DelegatorLog, Escrowed, VerifyContext } from './verify-event.ts'

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
export type Verdict = Accepted | Repeated | Duplicity | Escrowed

/**
 * The log of one identity in memory: first-seen order, the accepted chain, and the state it leads to. Verifying changes
 * nothing; {@link EventLog.apply} takes over what was accepted.
 */
export class EventLog implements DelegatorLog {
  readonly prefix: string
  readonly #accepted: VerifiedEvent[] = []
  readonly #superseded: VerifiedEvent[] = []
  readonly #supersededSaids = new Set<string>()
  /** Places of the events that seal an event of another log, by the SAID that they seal. */
  readonly #seals = new Map<string, number[]>()
  readonly #firstSeen: string[] = []
  /** States after each inception or rotation of the accepted chain. */
  readonly #establishments: KeyState[] = []
  readonly #witnessed = new Map<string, ReadonlyMap<number, Uint8Array>>()
  readonly #keepsMessages: boolean
  #state: KeyState | undefined

  /**
   * @param prefix - The identity.
   * @param keepsMessages - `false` keeps of each event what the rules need and lets its bytes go: for long logs that
   *   are
   * only to be verified. Then receipts for events that are accepted already cannot be counted.
   */
  constructor(prefix: string, keepsMessages = true) {
    this.prefix = prefix
    this.#keepsMessages = keepsMessages
  }

  /**
   * A log that goes on from a state that was verified before: earlier events are no longer known, and nothing may
   * refer to them.
   *
   * @param establishment - The state after the last inception or rotation.
   * @param tail - That event and the interactions after it.
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
    // Sequence numbers of establishments ascend, so the last one at or before `sn` is found by halving.
    let [low, high] = [0, this.#establishments.length]
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#establishments[middle] as KeyState).sn <= sn) low = middle + 1
      else high = middle
    }
    const establishment = this.#establishments[low - 1]
    return establishment === undefined ? undefined : { ...establishment, sn, said, type }
  }

  /** Verified witness signatures on an accepted event, by place in the witness list in force for it. */
  witnessesOf(said: string): ReadonlyMap<number, Uint8Array> {
    return this.#witnessed.get(said) ?? NO_WITNESSES
  }

  /**
   * Decides what becomes of an event. Changes nothing.
   *
   * @throws {@link KelError} when the event is refused.
   */
  verify(message: Message<KeyEvent>, context: VerifyContext): Verdict {
    const { event } = message
    const last = this.#state
    if (last === undefined || event.sn > last.sn) return this.#verifyNext(last, message, context)
    const held = this.#accepted[event.sn]
    if (held === undefined)
      throw refusal('KEL_SEQ', `Event ${event.sn} is before the state that this log continues from`)
    if (held.said === event.said) return this.#verifyRepeat(message, held, context)
    if (this.#supersededSaids.has(event.said))
      return {
        verdict: 'idempotent',
        superseded: true,
        explanation: `event ${event.sn} is known, a rotation superseded it`,
      }
    if (isRotation(event) && event.sn > last.lastEstablishment.sn)
      return this.#verifyRecovery(message as Message<RotationEvent>, context)
    return this.#verifyRival(message, held, context)
  }

  #verifyNext(last: KeyState | undefined, message: Message<KeyEvent>, context: VerifyContext): Verdict {
    const { event } = message
    if (last !== undefined && last.nextDigests.length === 0) {
      throw refusal('KEL_ABANDONED', `Event ${event.sn} follows event ${last.sn}, which promised no next key`)
    }
    if (event.sn > (last?.sn ?? -1) + 1) return outOfOrder(message, last)
    return this.#accept(last, message, context, 0)
  }

  /** Superseding recovery: a rotation may displace the interactions after the last establishment. */
  #verifyRecovery(message: Message<RotationEvent>, context: VerifyContext): Verdict {
    const { event } = message
    return this.#accept(this.#before(event.sn), message, context, this.#accepted.length - event.sn)
  }

  #accept(
    base: KeyState | undefined,
    message: Message<KeyEvent>,
    context: VerifyContext,
    superseding: number,
  ): Verdict {
    const verdict = verifyEvent(base, message, context)
    if (verdict.verdict === 'escrow') return verdict
    const verified = new LogEvent(message, verdict.state.publicKeys)
    const { event } = message
    const { state, signatures, witnesses } = verdict
    const recovery =
      superseding === 0
        ? ''
        : `; supersedes ${superseding} interaction${superseding === 1 ? '' : 's'} from ${event.sn} on`
    return {
      verdict: 'accept',
      state,
      signatures,
      witnesses,
      explain: verdict.explain,
      event: verified,
      superseding,
      warnings: event.warnings,
      get explanation() {
        return verdict.explain() + recovery
      },
    }
  }

  /** The same event again: its signatures must still be good, so that late ones may be added. */
  #verifyRepeat(message: Message<KeyEvent>, held: VerifiedEvent, context: VerifyContext): Verdict {
    const { event, bytes } = message
    // The very same bytes were verified when they were accepted.
    if (!equalBytes(bytes, held.message)) verifyEvent(this.#before(event.sn), message, context)
    return { verdict: 'idempotent', superseded: false, explanation: `event ${event.sn} is known already` }
  }

  /** The state that the event at a sequence number follows. */
  #before(sn: number): KeyState | undefined {
    return sn === 0 ? undefined : this.stateAt(sn - 1)
  }

  /** Another event at a place that is taken: evidence if it would have been accepted there, refused otherwise. */
  #verifyRival(message: Message<KeyEvent>, held: VerifiedEvent, context: VerifyContext): Verdict {
    const { event } = message
    const verdict = verifyEvent(this.#before(event.sn), message, context)
    if (verdict.verdict === 'escrow' && (verdict.kind === 'partial-signature' || verdict.kind === 'out-of-order')) {
      throw refusal('KEL_SEQ', `Event ${event.sn} is taken by ${held.said}, and its rival is not fully signed`)
    }
    const explanation =
      `a second event ${event.sn}, ${event.said}, is rightly signed; ${held.said} ` + 'was seen first and stays'
    return { verdict: 'duplicity', against: held, explanation }
  }

  /** Takes over an acceptance. */
  apply(accepted: Accepted): void {
    const { event, state, superseding, witnesses } = accepted
    if (witnesses.size > 0) this.#witnessed.set(event.said, witnesses)
    if (superseding > 0) this.#supersede(event.sn)
    if (this.#keepsMessages) this.#indexSeals(event)
    this.#accepted.push(this.#keepsMessages ? event : withoutMessage(event))
    this.#firstSeen.push(event.said)
    if (event.type !== 'ixn') this.#establishments.push(state)
    this.#state = state
  }

  #indexSeals({ sn, seals }: VerifiedEvent): void {
    for (const said of sealedSaids(seals)) {
      const places = this.#seals.get(said)
      if (places === undefined) this.#seals.set(said, [sn])
      else if (places.at(-1) !== sn) places.push(sn)
    }
  }

  #supersede(from: number): void {
    for (const event of this.#accepted.splice(from)) {
      this.#superseded.push(event)
      this.#supersededSaids.add(event.said)
    }
  }

  /** Whether an accepted event seals this event of another log. */
  sealsEvent(event: KeyEvent): boolean {
    return (this.#seals.get(event.said) ?? []).some(
      (sn) => this.#accepted[sn]?.seals.some((seal) => isSealOf(seal, event)) === true,
    )
  }

  /** Adds verified witness signatures that came later. */
  addWitnesses(said: string, witnesses: ReadonlyMap<number, Uint8Array>): void {
    this.#witnessed.set(said, new Map([...this.witnessesOf(said), ...witnesses]))
  }
}

/**
 * An event whose predecessor is missing. A rotation brings its own keys, so its signatures can be verified all the
 * same.
 */
function outOfOrder({ event, attachments }: Message<KeyEvent>, last: KeyState | undefined): Escrowed {
  if (attachments.signatures.length === 0) throw refusal('KEL_UNSIGNED', 'Event carries no signature of its controller')
  const verified = isRotation(event)
    ? {
        signatures: verifyIndexed(attachments.signatures, event.publicKeys, event.raw).spellings,
        publicKeys: event.publicKeys,
        witnesses: undefined,
        witnessSignatures: NO_WITNESSES,
      }
    : undefined
  const explanation =
    last === undefined
      ? `Event ${event.sn} came before the inception of its identity`
      : `Event ${event.sn} waits for event ${last.sn + 1}`
  return { verdict: 'escrow', kind: 'out-of-order', explanation, verified }
}

function withoutMessage({ sn, said, type, keys, prior }: VerifiedEvent): VerifiedEvent {
  return { sn, said, type, keys, prior, seals: [], raw: NO_BYTES, message: NO_BYTES }
}

const NO_BYTES = new Uint8Array(0)
const NO_WITNESSES: ReadonlyMap<number, Uint8Array> = new Map()

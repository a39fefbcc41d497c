import { Escrow, asWitness, composeMessage, heldMessage } from './escrow.ts'
import type { EscrowLimits, HeldEvent } from './escrow.ts'
import { KelError } from './errors.ts'
import type { KeyEvent } from './event.ts'
import type { Message } from './message.ts'
import type { KeyState } from './key-state.ts'
import { EventLog, LogEvent } from './log.ts'
import type { Accepted, Verdict, VerifiedEvent } from './log.ts'
import { ReceiptPool } from './receipts.ts'
import { refusal } from './rule.ts'
import { verifyWitnesses } from './signatures.ts'
import { sealedSaids } from './verify-event.ts'
import type { Escrowed, VerifyContext } from './verify-event.ts'
import { verifyTransferable } from './verify-receipts.ts'

/** A receipt whose signatures count, for an event that is accepted. */
export interface ReceiptAccepted {
  readonly verdict: 'receipt'
  readonly prefix: string
  readonly event: VerifiedEvent
  /** New witness signatures by place; empty when all were known. */
  readonly witnesses: ReadonlyMap<number, Uint8Array>
  /** Identities with logs known here whose signatures verify and meet their threshold. */
  readonly endorsers: readonly string[]
  readonly explanation: string
}

/** Options of an {@link Intake}. */
export interface IntakeOptions extends EscrowLimits {
  /** Finds the log of a delegator that is not part of this intake. */
  readonly delegator?: VerifyContext['delegator'] | undefined
  /** Prefix of the witness that this intake works for. */
  readonly witness?: string | undefined
  /** Milliseconds since the epoch; decides how long events wait. Default: they wait as long as the intake lives. */
  readonly clock?: (() => number) | undefined
}

/**
 * Takes messages of any number of identities in any order: verifies each, keeps in escrow what waits, and brings it out
 * when what it waited for has come. Verifying and committing are two steps, so that a store can write in between.
 *
 * This is the one place where it is decided what a stream of messages comes to: `verifyLog`, `Kel` and `checkStream`
 * all read through it. A message costs its own verification and no more, whatever else waits: an event that waits is
 * looked at again only when the one thing that it waits for has come, and signatures that verified once are not
 * verified again.
 */
export class Intake {
  readonly #logs = new Map<string, EventLog>()
  readonly #escrow: Escrow
  readonly #receipts: ReceiptPool
  readonly #context: VerifyContext
  readonly #clock: () => number
  /** Waiting events by the delegator whose seal they lack, and where its log ended then. */
  readonly #delegations = new Map<string, { readonly tip: string | undefined; readonly saids: Set<string> }>()
  /** Waiting events that something has come for, by SAID. */
  readonly #ready = new Set<string>()

  constructor(options: IntakeOptions = {}) {
    this.#escrow = new Escrow(options)
    this.#receipts = new ReceiptPool((said) => this.#escrow.get(said) !== undefined)
    this.#clock = options.clock ?? (() => 0)
    this.#context = {
      witness: options.witness,
      delegator: (prefix) => {
        const log = this.#logs.get(prefix)
        return log?.isStarted === true ? log : options.delegator?.(prefix)
      },
    }
  }

  /** Logs with at least an inception, by prefix. */
  get logs(): ReadonlyMap<string, EventLog> {
    return new Map([...this.#logs].filter(([, log]) => log.isStarted))
  }

  /** Events that wait, oldest first. */
  get waiting(): readonly HeldEvent[] {
    return this.#escrow.waiting
  }

  /** The waiting copy of an event. */
  waitingEvent(said: string): HeldEvent | undefined {
    return this.#escrow.get(said)
  }

  /** Drops an event that waits, with its receipts. */
  forget(said: string): void {
    this.#escrow.drop(said)
    this.#receipts.drop(said)
  }

  /** The log of an identity, empty until its inception is accepted. */
  logOf(prefix: string): EventLog {
    const log = this.#logs.get(prefix) ?? new EventLog(prefix)
    this.#logs.set(prefix, log)
    return log
  }

  /**
   * Verifies an event. What has to wait is kept; what is accepted is not yet applied: see {@link Intake.commit}.
   *
   * A new copy is verified alone first, so that no earlier copy of the event can spoil it. Only when it has to wait,
   * too, are the verified signatures of both put together.
   *
   * @throws {@link KelError} when the event is refused.
   */
  offer(message: Message<KeyEvent>): Verdict {
    this.#expire()
    const { said } = message.event
    const held = this.#escrow.get(said)
    let alone: Verdict
    try {
      alone = this.#verify(message)
    } catch (error) {
      // Right signatures under wrong second places: another copy may have them right.
      const isMisspelled = error instanceof KelError && error.code === 'KEL_NEXT_COMMITMENT'
      const whole = isMisspelled && held !== undefined ? this.#tryTogether(held, message) : undefined
      if (whole?.verdict !== 'accept') throw error
      return whole
    }
    if (alone.verdict !== 'escrow') {
      if (alone.verdict !== 'accept') this.forget(said)
      return alone
    }
    return this.#hold(message, alone, held)
  }

  /** Lets an event wait, together with the copy that waits already. */
  #hold(message: Message<KeyEvent>, alone: Escrowed, held: HeldEvent | undefined): Verdict {
    const now = this.#clock()
    const kept = heldMessage(message, alone, held?.message)
    if (held === undefined) return this.#keep(kept, alone, now)
    // Nothing new: the answer is that of the first copy, and nothing is verified a second time.
    if (partCount(kept) === partCount(held.message) && held.kind === alone.kind)
      return { verdict: 'escrow', kind: held.kind, explanation: held.explanation }
    const together = this.#tryVerify(kept)
    if (together?.verdict === 'accept') return together
    if (together?.verdict === 'escrow') return this.#keep(heldMessage(kept, together), together, now)
    return this.#keep(kept, alone, now)
  }

  #keep(message: Message<KeyEvent>, escrowed: Escrowed, sinceMs: number): Escrowed {
    this.#escrow.hold(message, escrowed, sinceMs)
    if (escrowed.delegator !== undefined) {
      const awaited = this.#delegations.get(escrowed.delegator) ?? {
        tip: this.#tipOf(escrowed.delegator),
        saids: new Set(),
      }
      awaited.saids.add(message.event.said)
      this.#delegations.set(escrowed.delegator, awaited)
    }
    return escrowed
  }

  #tipOf(delegator: string): string | undefined {
    return this.#context.delegator(delegator)?.state.said
  }

  #tryTogether(held: HeldEvent, message: Message<KeyEvent>): Verdict | undefined {
    const { attachments } = held.message
    const both = [...message.attachments.signatures, ...attachments.signatures]
    return this.#tryVerify({ ...held.message, attachments: { ...attachments, signatures: both } })
  }

  #tryVerify(message: Message<KeyEvent>): Verdict | undefined {
    try {
      return this.#verify(message)
    } catch (error) {
      if (error instanceof KelError) return undefined
      throw error
    }
  }

  #verify(message: Message<KeyEvent>): Verdict {
    const { event } = message
    const log = this.#logs.get(event.prefix) ?? new EventLog(event.prefix)
    const merged = this.#receipts.merge(message)
    const verdict = log.verify(merged, this.#context)
    if (verdict.verdict !== 'accept' || merged === message) return verdict
    const bytes = composeMessage(withWitnesses(message, verdict))
    return { ...verdict, event: new LogEvent({ ...message, bytes }, verdict.state.publicKeys) }
  }

  /** Applies an acceptance. */
  commit(accepted: Accepted): void {
    const { state, event } = accepted
    this.logOf(state.prefix).apply(accepted)
    this.forget(event.said)
    // The next event in order, rivals of this one that are out of the race, and delegated events that this one seals.
    const freed = [
      ...this.#escrow.at(state.prefix, event.sn + 1),
      ...this.#escrow.at(state.prefix, event.sn),
      ...sealedSaids(event.seals).filter((said) => this.#escrow.get(said) !== undefined),
    ]
    for (const said of freed) this.#ready.add(said)
  }

  /** The next waiting event that can be accepted now; what turns out to be wrong by now is dropped. */
  release(): Accepted | undefined {
    this.#noticeDelegators()
    for (const said of this.#ready) {
      this.#ready.delete(said)
      const held = this.#escrow.get(said)
      if (held === undefined) continue
      const verdict = this.#tryVerify(held.message)
      if (verdict?.verdict === 'accept') return verdict
      if (verdict?.verdict === 'escrow') this.#keep(heldMessage(held.message, verdict), verdict, held.sinceMs)
      else this.forget(said)
    }
    return undefined
  }

  /** Logs of delegators may grow outside of this intake: what waits for one is looked at again once it has. */
  #noticeDelegators(): void {
    for (const [delegator, { tip, saids }] of this.#delegations) {
      if (this.#logs.has(delegator) || tip === this.#tipOf(delegator)) continue
      this.#delegations.delete(delegator)
      for (const said of saids) this.#ready.add(said)
    }
  }

  #expire(): void {
    for (const said of this.#escrow.expire(this.#clock())) this.#receipts.drop(said)
  }

  /**
   * Takes a receipt: for an accepted event its new signatures are returned, for one that waits they are verified and
   * kept with it, for one that is not known yet they are kept as they are. Receipts by identities with logs are
   * verified when their logs are here, and not kept.
   *
   * @throws {@link KelError} `KEL_WITNESS` when no signature is by a witness of the event or such an identity,
   * `KEL_SIGNATURE` when none verifies, `KEL_ESCROW_FULL`.
   */
  offerReceipt(message: Message): ReceiptAccepted | Escrowed {
    this.#expire()
    const { prefix, sn, said } = message.event
    const log = this.#logs.get(prefix)
    const event = log?.eventAt(sn)
    if (log === undefined || event?.said !== said) return this.#earlyReceipt(message)
    const state = log.stateAt(sn) as KeyState
    const { witnessSignatures, couples, transferable } = message.attachments
    const valid = verifyWitnesses(state.witnesses, event.raw, witnessSignatures, couples)
    const endorsements = verifyTransferable(event.raw, transferable, (by) => this.#logs.get(by))
    const endorsers = endorsements.filter(({ outcome }) => outcome === 'valid').map((endorsement) => endorsement.prefix)
    if (valid.size === 0 && endorsers.length === 0) {
      const unknown = endorsements.find(({ outcome }) => outcome === 'unknown')
      if (unknown === undefined) throw receiptRefusal(message, state.witnesses, sn)
      return {
        verdict: 'escrow',
        kind: 'unverified-receipt',
        explanation: `receipt for event ${sn} cannot be verified: ${unknown.explanation}`,
      }
    }
    const known = log.witnessesOf(said)
    const witnesses = new Map([...valid].filter(([place]) => !known.has(place)))
    log.addWitnesses(said, witnesses)
    const byIdentities = endorsers.length === 0 ? '' : `; signed by ${endorsers.join(', ')}`
    const explanation =
      `receipt for event ${sn}: ${witnesses.size} new of ${valid.size} witness ` + `signatures${byIdentities}`
    return { verdict: 'receipt', prefix, event, witnesses, endorsers, explanation }
  }

  /** A receipt for an event that is not accepted: with the event that waits, or in the pool until it is known. */
  #earlyReceipt(message: Message): Escrowed {
    const { sn, said } = message.event
    const answer: Escrowed = {
      verdict: 'escrow',
      kind: 'unverified-receipt',
      explanation: `receipt for event ${sn}, which is not accepted yet`,
    }
    const held = this.#escrow.get(said)
    const { witnessSignatures, couples, transferable } = message.attachments
    if (held?.witnesses === undefined) {
      this.#receipts.add(message)
      return answer
    }
    const valid = verifyWitnesses(held.witnesses, held.message.event.raw, witnessSignatures, couples)
    if (valid.size === 0 && transferable.length === 0) throw receiptRefusal(message, held.witnesses, sn)
    const verified = {
      signatures: held.message.attachments.signatures,
      publicKeys: [],
      witnesses: held.witnesses,
      witnessSignatures: valid,
    }
    const escrowed: Escrowed = { verdict: 'escrow', kind: held.kind, explanation: held.explanation, verified }
    this.#keep(heldMessage(held.message, escrowed, held.message), escrowed, held.sinceMs)
    this.#ready.add(said)
    return answer
  }
}

function partCount({ attachments }: Message): number {
  const { signatures, witnessSignatures, sealSources } = attachments
  return signatures.length + witnessSignatures.length + sealSources.length
}

function receiptRefusal({ attachments }: Message, witnesses: readonly string[], sn: number): KelError {
  const byWitness =
    attachments.witnessSignatures.some(({ index }) => index < witnesses.length) ||
    attachments.couples.some(({ prefix }) => witnesses.includes(prefix)) ||
    attachments.transferable.length > 0
  return byWitness
    ? refusal('KEL_SIGNATURE', `No signature of the receipt for event ${sn} verifies`)
    : refusal('KEL_WITNESS', `Receipt for event ${sn} is by nobody in its witness list`)
}

/** The message with every verified witness signature as an indexed one, so that it is complete when it is read back. */
function withWitnesses(message: Message<KeyEvent>, accepted: Accepted): Message<KeyEvent> {
  const witnessSignatures = [...accepted.witnesses]
    .sort(([a], [b]) => a - b)
    .map(([index, signature]) => asWitness(index, signature))
  return {
    ...message,
    attachments: { ...message.attachments, signatures: accepted.signatures.valid, witnessSignatures },
  }
}

import { Escrow, composeMessage, mergeSignatures } from './escrow.ts'
import type { EscrowLimits, WaitingEvent } from './escrow.ts'
import { KelError } from './errors.ts'
import type { KeyEvent } from './event.ts'
import type { Escrowed, JudgeContext } from './judge.ts'
import type { Message } from './message.ts'
import type { KeyState } from './key-state.ts'
import { EventLog, LogEvent } from './log.ts'
import type { Accepted, Judgement, VerifiedEvent } from './log.ts'
import { MAX_ESCROW_EVENTS } from './limits.ts'
import { ReceiptPool } from './receipts.ts'
import { refusal } from './rule.ts'
import { verifyWitnesses } from './signatures.ts'
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
  readonly delegator?: JudgeContext['delegator']
  /** Prefix of the witness that this intake works for. */
  readonly witness?: string | undefined
}

/**
 * Takes messages of any number of identities in any order: judges each, keeps in escrow what waits, and brings it out
 * when what it waited for has come. Judging and committing are two steps, so that a store can write in between.
 */
export class Intake {
  readonly #logs = new Map<string, EventLog>()
  readonly #escrow: Escrow
  readonly #receipts = new ReceiptPool()
  readonly #context: JudgeContext

  constructor(options: IntakeOptions = {}) {
    this.#escrow = new Escrow(options)
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
  get waiting(): readonly WaitingEvent[] {
    return this.#escrow.waiting
  }

  /** The log of an identity, empty until its inception is accepted. */
  logOf(prefix: string): EventLog {
    const log = this.#logs.get(prefix) ?? new EventLog(prefix)
    this.#logs.set(prefix, log)
    return log
  }

  /**
   * Judges an event. What has to wait is kept; what is accepted is not yet applied: see {@link Intake.commit}.
   *
   * @throws {@link KelError} when the event is refused.
   */
  offer(message: Message<KeyEvent>): Judgement {
    const held = this.#escrow.get(message.event.said)
    const whole = held === undefined ? message : mergeSignatures(held.message, message)
    const judgement = this.#judge(whole)
    if (judgement.verdict === 'escrow') this.#escrow.hold(judgement.kind, whole)
    else this.#escrow.drop(message.event.said)
    return judgement
  }

  #judge(message: Message<KeyEvent>): Judgement {
    const { event } = message
    const known = this.#logs.get(event.prefix)
    const log = known ?? new EventLog(event.prefix)
    const merged = this.#receipts.merge(message)
    const judgement = log.judge(merged, this.#context)
    if (judgement.verdict !== 'accept' || merged === message) return judgement
    const bytes = composeMessage(withWitnesses(message, judgement))
    return { ...judgement, event: new LogEvent({ ...message, bytes }, judgement.state.publicKeys) }
  }

  /** Applies an acceptance. */
  commit(accepted: Accepted): void {
    this.logOf(accepted.state.prefix).apply(accepted)
    this.#escrow.drop(accepted.event.said)
    this.#receipts.drop(accepted.event.said)
  }

  /** The next waiting event that can be accepted now; what turns out to be wrong by now is dropped. */
  release(): Accepted | undefined {
    for (const { message } of this.#escrow.waiting) {
      try {
        const judgement = this.#judge(message)
        if (judgement.verdict === 'accept') return judgement
        if (judgement.verdict !== 'escrow') this.#escrow.drop(message.event.said)
      } catch (error) {
        if (!(error instanceof KelError)) throw error
        this.#escrow.drop(message.event.said)
      }
    }
    return undefined
  }

  /**
   * Takes a receipt: for an accepted event its new signatures are returned, for one that waits or is not known yet they
   * are kept. Receipts by identities with logs are verified when their logs are here, and not kept.
   *
   * @throws {@link KelError} `KEL_WITNESS` when no signature is by a witness of the event or such an identity, `KEL_SIGNATURE` when none verifies, `KEL_ESCROW_FULL`.
   */
  offerReceipt(message: Message): ReceiptAccepted | Escrowed {
    const { prefix, sn, said } = message.event
    const log = this.#logs.get(prefix)
    const event = log?.eventAt(sn)
    if (log === undefined || event?.said !== said) {
      if (this.#receipts.size >= MAX_ESCROW_EVENTS)
        throw refusal('KEL_ESCROW_FULL', `Receipts for ${MAX_ESCROW_EVENTS} events wait already`)
      this.#receipts.add(message)
      return {
        verdict: 'escrow',
        kind: 'unverified-receipt',
        explanation: `receipt for event ${sn}, which is not accepted yet`,
      }
    }
    const state = log.stateAt(sn) as KeyState
    const { witnessSignatures, couples, transferable } = message.attachments
    const valid = verifyWitnesses(state.witnesses, event.raw, witnessSignatures, couples)
    const endorsements = verifyTransferable(event.raw, transferable, (by) => this.#logs.get(by))
    const endorsers = endorsements.filter(({ outcome }) => outcome === 'valid').map((endorsement) => endorsement.prefix)
    if (valid.size === 0 && endorsers.length === 0) {
      const unknown = endorsements.find(({ outcome }) => outcome === 'unknown')
      if (unknown === undefined) throw receiptRefusal(message, state, sn)
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
    const explanation = `receipt for event ${sn}: ${witnesses.size} new of ${valid.size} witness signatures${byIdentities}`
    return { verdict: 'receipt', prefix, event, witnesses, endorsers, explanation }
  }
}

function receiptRefusal({ attachments }: Message, state: KeyState, sn: number): KelError {
  const byWitness =
    attachments.witnessSignatures.some(({ index }) => index < state.witnesses.length) ||
    attachments.couples.some(({ prefix }) => state.witnesses.includes(prefix)) ||
    attachments.transferable.length > 0
  return byWitness
    ? refusal('KEL_SIGNATURE', `No signature of the receipt for event ${sn} verifies`)
    : refusal('KEL_WITNESS', `Receipt for event ${sn} is by nobody in its witness list`)
}

/** The message with every verified witness signature as an indexed one, so that it stands on its own when read back. */
function withWitnesses(message: Message<KeyEvent>, accepted: Accepted): Message<KeyEvent> {
  const witnessSignatures = [...accepted.witnesses]
    .sort(([a], [b]) => a - b)
    .map(([index, signature]) => ({ code: 'A', index, ondex: index, signature }))
  return {
    ...message,
    attachments: { ...message.attachments, signatures: accepted.signatures.valid, witnessSignatures },
  }
}

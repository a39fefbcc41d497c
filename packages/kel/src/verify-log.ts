import type { KeyEvent } from './event.ts'
import { EventLog } from './log.ts'
import type { VerifiedEvent } from './log.ts'
import type { EscrowKind, JudgeContext } from './judge.ts'
import type { KeyState } from './key-state.ts'
import { MAX_LOG_BYTES } from './limits.ts'
import { isKeyEvent, parseMessage } from './message.ts'
import type { Message } from './message.ts'
import { ReceiptPool } from './receipts.ts'
import { KelError } from './errors.ts'
import type { KelErrorCode } from './errors.ts'
import { refusal } from './rule.ts'
import { verifyWitnesses } from './signatures.ts'
import { plainBytes, readFrames } from './stream.ts'

/** A log that has passed every rule. */
export interface VerifiedLog {
  readonly prefix: string
  /** What holds after the last event. */
  readonly state: KeyState
  /** The accepted chain, index equal to sequence number; superseded interactions are not in it. */
  readonly events: readonly VerifiedEvent[]
  /** Interactions that a later rotation displaced. */
  readonly superseded: readonly VerifiedEvent[]
  /** What a lenient reader let pass, and what deserves a look. */
  readonly warnings: readonly string[]
  /** The state right after the event at a sequence number. */
  stateAt(sn: number): KeyState | undefined
  /** Verified witness signatures on an event, by place in the witness list in force for it. */
  witnessesOf(said: string): ReadonlyMap<number, Uint8Array>
}

/** Options of {@link verifyLog}. */
export interface VerifyLogOptions {
  /** The identity that the log must belong to. Default: that of its first event. */
  readonly prefix?: string
  /** `'keripy'`: let pass what keripy lets pass, and say so in `warnings`. Default: strict. */
  readonly lenient?: 'keripy' | undefined
  /** Largest stream, bytes. Default 4 MiB. */
  readonly maxBytes?: number
  /** Verified log of the delegator, for a delegated identity. */
  readonly delegator?: VerifiedLog
}

const codeOfEscrow: Readonly<Record<EscrowKind, KelErrorCode>> = {
  'out-of-order': 'KEL_SEQ',
  'partial-signature': 'KEL_SIGNATURE',
  'partial-witness': 'KEL_WITNESS',
  'partial-delegation': 'KEL_DELEGATION',
  'unverified-receipt': 'KEL_WITNESS',
}

/** What the judge may ask about a delegator, from its verified log. */
export function delegatorContext(delegator: VerifiedLog | undefined): JudgeContext {
  const log =
    delegator === undefined ? undefined : { state: delegator.state, eventAt: (sn: number) => delegator.events[sn] }
  return { delegator: (prefix) => (prefix === delegator?.prefix ? log : undefined) }
}

/** Appends an event to a log in memory; whatever does not stand at once is an error. */
export function appendOrThrow(
  log: EventLog,
  message: Message<KeyEvent>,
  context: JudgeContext,
  receipts: (() => ReceiptPool) | undefined,
  warnings: string[],
): void {
  let judgement = log.judge(message, context)
  // Most logs carry their witness signatures on the events: receipts are looked for when one is short of them.
  if (judgement.verdict === 'escrow' && judgement.kind === 'partial-witness' && receipts !== undefined)
    judgement = log.judge(receipts().merge(message), context)
  if (judgement.verdict === 'escrow') throw refusal(codeOfEscrow[judgement.kind], judgement.explanation)
  if (judgement.verdict === 'duplicity') {
    throw refusal('KEL_DUPLICITY', judgement.explanation, { rule: 'order', against: judgement.against.said })
  }
  if (judgement.verdict !== 'accept') return
  log.apply(judgement)
  warnings.push(...judgement.warnings.map((warning) => `Event ${message.event.sn}: ${warning}`))
}

/**
 * Verifies the log of one identity, from its inception to its last event: a CESR stream in first-seen order, receipts
 * (`rct`) anywhere in it. All or nothing: the first event that does not stand ends the call.
 *
 * @param stream - Bodies with their attachments; the result keeps views of it, so it must not change afterwards.
 * @throws {@link KelError} one code per rule; `details.rule` names it, `details.event` is the event's place in the stream.
 * @example `const { state } = verifyLog(bytes, { prefix })`
 */
export function verifyLog(stream: Uint8Array, options: VerifyLogOptions = {}): VerifiedLog {
  const { maxBytes = MAX_LOG_BYTES, lenient, delegator } = options
  if (stream.length > maxBytes) throw refusal('KEL_LIMIT', `Log of ${stream.length} bytes, limit ${maxBytes}`)
  const context = delegatorContext(delegator)
  const bytes = plainBytes(stream)
  let pool: ReceiptPool | undefined
  const receipts = (): ReceiptPool => (pool ??= ReceiptPool.of(bytes))
  const warnings: string[] = []
  let log: EventLog | undefined
  let ordinal = 0
  for (const frame of readFrames(bytes)) {
    try {
      const message = parseMessage(frame, { lenient })
      if (isKeyEvent(message)) {
        const prefix = log?.prefix ?? options.prefix ?? message.event.prefix
        if (message.event.prefix !== prefix) throw foreignPrefix(message.event, prefix)
        log ??= new EventLog(prefix)
        appendOrThrow(log, message, context, receipts, warnings)
      } else if (log !== undefined) countReceipt(log, message)
    } catch (error) {
      throw atEvent(error, ordinal)
    }
    ordinal++
  }
  if (log === undefined || !log.isStarted) throw refusal('KEL_SEQ', 'Log holds no inception')
  const { prefix, state, events, superseded } = log
  const verified = log
  return {
    prefix,
    state,
    events,
    superseded,
    warnings,
    stateAt: (sn) => verified.stateAt(sn),
    witnessesOf: (said) => verified.witnessesOf(said),
  }
}

/** Counts the witness signatures of a receipt for an accepted event; what does not verify counts nothing. */
function countReceipt(log: EventLog, { event, attachments }: Message): void {
  const held = log.eventAt(event.sn)
  const state = log.stateAt(event.sn)
  if (held?.said !== event.said || state === undefined) return
  log.addWitnesses(
    event.said,
    verifyWitnesses(state.witnesses, held.raw, attachments.witnessSignatures, attachments.couples),
  )
}

function foreignPrefix(event: KeyEvent, prefix: string): KelError {
  const code = event.type === 'icp' || event.type === 'dip' ? 'KEL_SEQ' : 'KEL_PREFIX'
  return refusal(
    code === 'KEL_SEQ' && event.sn === 0 ? 'KEL_PREFIX' : code,
    `Event ${event.sn} belongs to ${event.prefix}, the log to ${prefix}`,
  )
}

/** Adds the place in the stream to an error on its way out. */
function atEvent(error: unknown, ordinal: number): unknown {
  if (!(error instanceof KelError)) return error
  return new KelError(error.code, error.message, {
    details: { ...error.details, event: ordinal },
    hint: error.hint,
    cause: error.cause ?? error,
  })
}

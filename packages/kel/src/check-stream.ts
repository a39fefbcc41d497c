import { Intake } from './intake.ts'
import { KelError } from './errors.ts'
import type { KeyEvent } from './event.ts'
import type { KeyState } from './key-state.ts'
import { MAX_LOG_BYTES, MAX_UNREADABLE_MESSAGES } from './limits.ts'
import type { Verdict } from './log.ts'
import { isKeyEvent, parseMessage } from './message.ts'
import type { Message } from './message.ts'
import { refusal, ruleOf } from './rule.ts'
import { nextFrameOffset, plainBytes, readFrame } from './stream.ts'
import type { Frame } from './stream.ts'
import { checkSize } from './work.ts'

/** The answer to one message of a stream. */
export interface CheckedMessage {
  /** As the message states it; empty when it could not be read. */
  readonly said: string
  readonly type: string
  readonly sn: number | undefined
  /**
   * `accept`, `accept-idempotent`, `accept-with-warning`, `accept-after-escrow` (with it, an event that waited is
   * accepted), `escrow:<kind>`, `duplicity` or `reject:<rule>`.
   */
  readonly verdict: string
  /** A sentence for people. */
  readonly explanation: string
  /** Code of the refusal. */
  readonly code?: string
  /** What a lenient reader let pass, and what deserves a look. */
  readonly warnings: readonly string[]
  /** SAIDs of events that had waited and are accepted now. */
  readonly released: readonly string[]
}

/** What came of a whole stream. */
export interface CheckedStream {
  readonly messages: readonly CheckedMessage[]
  /** Final state of each identity with an accepted inception, in order of appearance. */
  readonly states: readonly KeyState[]
  /** SAIDs in the order in which their events were accepted, by prefix. */
  readonly firstSeen: ReadonlyMap<string, readonly string[]>
  /** SAIDs of the events that still wait at the end. */
  readonly waiting: readonly string[]
}

/** Options of {@link checkStream}. */
export interface CheckOptions {
  readonly lenient?: 'keripy' | undefined
  /** Largest stream, bytes; a longer one is answered as a whole: `reject:limit`. As in `verifyLog`; default 4 MiB. */
  readonly maxBytes?: number | undefined
}

/** What a message that was refused says about itself, as far as it can be read. */
function claims(frame: Frame | undefined): { said: string; type: string; sn: number | undefined } {
  const nothing = { said: '', type: '', sn: undefined }
  if (frame === undefined) return nothing
  const match = /^\{"v":"[^"]{17}","t":"([a-z]{3})","d":"([A-Za-z0-9_-]{44})"/.exec(
    new TextDecoder().decode(frame.body),
  )
  if (match === null) return nothing
  const sn = /"s":"([0-9a-fA-F]{1,12})"/.exec(new TextDecoder().decode(frame.body))?.[1]
  return { type: match[1] ?? '', said: match[2] ?? '', sn: sn === undefined ? undefined : Number.parseInt(sn, 16) }
}

function refused(frame: Frame | undefined, error: unknown): CheckedMessage {
  if (!(error instanceof KelError)) throw error
  return {
    ...claims(frame),
    verdict: `reject:${ruleOf(error)}`,
    explanation: error.message,
    code: error.code,
    warnings: [],
    released: [],
  }
}

/** Accepts whatever has become acceptable; returns the SAIDs. */
function drain(intake: Intake): string[] {
  const released: string[] = []
  for (let next = intake.release(); next !== undefined; next = intake.release()) {
    intake.commit(next)
    released.push(next.event.said)
  }
  return released
}

function verdictText(verdict: Verdict, released: readonly string[], waited: boolean): string {
  if (verdict.verdict === 'escrow') return `escrow:${verdict.kind}`
  if (verdict.verdict === 'duplicity') return 'duplicity'
  if (verdict.verdict === 'idempotent') return 'accept-idempotent'
  if (released.length > 0 || waited) return 'accept-after-escrow'
  return verdict.warnings.length > 0 ? 'accept-with-warning' : 'accept'
}

function also(released: readonly string[]): string {
  return released.length === 0
    ? ''
    : `; with it ${released.length} that waited ${released.length === 1 ? 'is' : 'are'} accepted`
}

function checkEvent(intake: Intake, message: Message<KeyEvent>): CheckedMessage {
  const { said, type, sn, warnings } = message.event
  const waited = intake.waitingEvent(said) !== undefined
  const verdict = intake.offer(message)
  if (verdict.verdict === 'accept') intake.commit(verdict)
  const released = verdict.verdict === 'accept' ? drain(intake) : []
  const notes = warnings.length === 0 ? '' : `; note: ${warnings.join('; ')}`
  return {
    said,
    type,
    sn,
    verdict: verdictText(verdict, released, waited),
    explanation: verdict.explanation + also(released) + notes,
    warnings,
    released,
  }
}

function checkReceipt(intake: Intake, message: Message): CheckedMessage {
  const { said, type, sn, warnings } = message.event
  const answer = intake.offerReceipt(message)
  if (answer.verdict === 'receipt') {
    const verdict = answer.witnesses.size + answer.endorsers.length > 0 ? 'accept' : 'accept-idempotent'
    return { said, type, sn, verdict, explanation: answer.explanation, warnings, released: [] }
  }
  const released = drain(intake)
  const still = intake.waitingEvent(said)
  const verdict = released.includes(said) ? 'accept-after-escrow' : `escrow:${still?.kind ?? answer.kind}`
  return { said, type, sn, verdict, explanation: `receipt for event ${sn}${also(released)}`, warnings, released }
}

/**
 * Answers each message of a CESR stream in order, as a validator would that sees them for the first time. Never throws
 * for bad input: a message that cannot be read is answered too, and the check goes on with the next one. A stream that
 * asks for more work than `verifyLog` takes on is answered with one refusal, `KEL_LIMIT`.
 */
export function checkStream(stream: Uint8Array, options: CheckOptions = {}): CheckedStream {
  const bytes = plainBytes(stream)
  try {
    checkSize(bytes, options.maxBytes ?? MAX_LOG_BYTES)
  } catch (error) {
    return { messages: [refused(undefined, error)], states: [], firstSeen: new Map(), waiting: [] }
  }
  const intake = new Intake()
  const messages: CheckedMessage[] = []
  let offset = 0
  let unreadable = 0
  while (offset < bytes.length) {
    let frame: Frame | undefined
    if (unreadable > MAX_UNREADABLE_MESSAGES) {
      const explanation =
        `${MAX_UNREADABLE_MESSAGES} messages cannot be read; the last ` + `${bytes.length - offset} bytes are left out`
      messages.push(refused(undefined, refusal('KEL_LIMIT', explanation)))
      break
    }
    try {
      frame = readFrame(bytes, offset)
      const message = parseMessage(frame, options)
      messages.push(isKeyEvent(message) ? checkEvent(intake, message) : checkReceipt(intake, message))
    } catch (error) {
      messages.push(refused(frame, error))
    }
    if (frame === undefined) unreadable++
    offset = frame === undefined ? nextFrameOffset(bytes, offset) : offset + frame.bytes.length
  }
  const logs = [...intake.logs.values()]
  return {
    messages,
    states: logs.map((log) => log.state),
    firstSeen: new Map(logs.map((log) => [log.prefix, log.firstSeen])),
    waiting: intake.waiting.map(({ message }) => message.event.said),
  }
}

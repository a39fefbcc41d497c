import type { Intake } from './intake.ts'
import { KelError } from './errors.ts'
import type { KelErrorCode } from './errors.ts'
import { isKeyEvent, parseMessage } from './message.ts'
import type { Message } from './message.ts'
import { refusal } from './rule.ts'
import { readFrame } from './stream.ts'
import type { Frame } from './stream.ts'
import type { EscrowKind } from './verify-event.ts'

const CODE_OF_ESCROW: Readonly<Record<EscrowKind, KelErrorCode>> = {
  'out-of-order': 'KEL_SEQ',
  'partial-signature': 'KEL_SIGNATURE',
  'partial-witness': 'KEL_WITNESS',
  'partial-delegation': 'KEL_DELEGATION',
  'unverified-receipt': 'KEL_WITNESS',
}

/** A message at its place in a stream. */
export interface PlacedFrame {
  readonly frame: Frame
  readonly offset: number
  /** Number of messages before it. */
  readonly ordinal: number
}

/** What came of one message. */
export interface ReadMessage {
  readonly prefix: string | undefined
  readonly warnings: readonly string[]
  /** SAID of the event when it has to wait. */
  readonly waiting: string | undefined
}

/** The error of an event that still waits when the stream ends. */
export function waitingRefusal(kind: EscrowKind, explanation: string): KelError {
  return refusal(CODE_OF_ESCROW[kind], explanation)
}

/**
 * Reads messages of one identity into an intake: the first event that is refused, or that contradicts an accepted one,
 * ends the call. Receipts that count nothing are passed over: anybody can make them, and they change nothing.
 *
 * @param prefix - The identity that the messages must belong to; undefined: that of the first event.
 * @returns The identity, the warnings of what was accepted, and the SAID of the event if it has to wait.
 */
export function readInto(
  intake: Intake,
  { frame, ordinal }: Pick<PlacedFrame, 'frame' | 'ordinal'>,
  options: { readonly prefix: string | undefined; readonly lenient?: 'keripy' | undefined },
): ReadMessage {
  try {
    const message = parseMessage(frame, { lenient: options.lenient })
    if (!isKeyEvent(message))
      return { prefix: options.prefix, warnings: readReceipt(intake, message), waiting: undefined }
    const { event } = message
    const prefix = options.prefix ?? event.prefix
    if (event.prefix !== prefix)
      throw refusal('KEL_PREFIX', `Event ${event.sn} belongs to ${event.prefix}, the log to ${prefix}`)
    const verdict = intake.offer(message)
    if (verdict.verdict === 'duplicity')
      throw refusal('KEL_DUPLICITY', verdict.explanation, { rule: 'order', against: verdict.against.said })
    if (verdict.verdict !== 'accept')
      return { prefix, warnings: [], waiting: verdict.verdict === 'escrow' ? event.said : undefined }
    intake.commit(verdict)
    const own = verdict.warnings.map((warning) => `Event ${event.sn}: ${warning}`)
    return { prefix, warnings: [...own, ...releaseAll(intake)], waiting: undefined }
  } catch (error) {
    throw atEvent(error, ordinal)
  }
}

function readReceipt(intake: Intake, message: Message): readonly string[] {
  try {
    intake.offerReceipt(message)
  } catch (error) {
    if (!(error instanceof KelError)) throw error
    return []
  }
  return releaseAll(intake)
}

function releaseAll(intake: Intake): string[] {
  const warnings: string[] = []
  for (let next = intake.release(); next !== undefined; next = intake.release()) {
    intake.commit(next)
    const { sn } = next.event
    warnings.push(...next.warnings.map((warning) => `Event ${sn}: ${warning}`))
  }
  return warnings
}

/** Adds the place in the stream to an error on its way out. */
export function atEvent(error: unknown, ordinal: number): unknown {
  if (!(error instanceof KelError)) return error
  return new KelError(error.code, error.message, {
    details: { ...error.details, event: ordinal },
    hint: error.hint,
    cause: error.cause ?? error,
  })
}

/** The messages of a stream with their places. */
export function* placedFrames(bytes: Uint8Array): Generator<PlacedFrame> {
  let ordinal = 0
  for (let offset = 0; offset < bytes.length;) {
    const frame = readFrame(bytes, offset)
    yield { frame, offset, ordinal }
    offset += frame.bytes.length
    ordinal++
  }
}

import { findPlace } from './compare-logs.ts'
import { KelError } from './errors.ts'
import { Intake } from './intake.ts'
import type { Place } from './key-state.ts'
import { MAX_LOG_BYTES } from './limits.ts'
import { parsePin } from './pin.ts'
import type { Pin } from './pin.ts'
import { atEvent, placedFrames, readInto, waitingRefusal } from './read-stream.ts'
import { refusal } from './rule.ts'
import { plainBytes } from './stream.ts'
import type { VerifyContext } from './verify-event.ts'
import type { VerifiedLog } from './verified-log.ts'

/** Options of {@link verifyLog}. */
export interface VerifyLogOptions {
  /** The identity that the log must belong to. Default: that of its first event. */
  readonly prefix?: string | undefined
  /** A pin, as text or parsed: the log must be of that identity and contain the pinned event. Default: none. */
  readonly pin?: Pin | string | undefined
  /** `'keripy'`: let pass what keripy lets pass, and say so in `warnings`. Default: strict. */
  readonly lenient?: 'keripy' | undefined
  /** Largest stream, bytes. Default 4 MiB. */
  readonly maxBytes?: number | undefined
  /** Verified log of the delegator, for a delegated identity. */
  readonly delegator?: VerifiedLog | undefined
}

/** What verification may ask about a delegator, from its verified log. */
export function delegatorContext(delegator: VerifiedLog | undefined): VerifyContext {
  const log =
    delegator === undefined ? undefined : { state: delegator.state, eventAt: (sn: number) => delegator.events[sn] }
  return { delegator: (prefix) => (prefix === delegator?.prefix ? log : undefined) }
}

/**
 * Verifies the log of one identity, from its inception to its last event: a CESR stream, receipts (`rct`) anywhere in
 * it. All or nothing: an event that is refused ends the call, and so does one that still waits for something at the
 * end.
 *
 * @param stream - Bodies with their attachments; the result keeps views of it, so it must not change afterwards.
 * @throws {@link KelError} one code per rule; `details.rule` names it, `details.event` is the event's place in the
 *   stream. `KEL_PREFIX` when the log is of another identity than the pin, `KEL_PIN_MISMATCH` when it lacks the pinned
 *   event.
 * @example `const { state } = verifyLog(bytes, { pin })`
 */
export function verifyLog(stream: Uint8Array, options: VerifyLogOptions = {}): VerifiedLog {
  const { maxBytes = MAX_LOG_BYTES, lenient, delegator } = options
  const pin = typeof options.pin === 'string' ? parsePin(options.pin) : options.pin
  if (stream.length > maxBytes) throw refusal('KEL_LIMIT', `Log of ${stream.length} bytes, limit ${maxBytes}`)
  if (pin !== undefined && options.prefix !== undefined && pin.prefix !== options.prefix)
    throw refusal('KEL_PREFIX', `The pin names ${pin.prefix}, expected ${options.prefix}`)
  const intake = new Intake({ delegator: delegatorContext(delegator).delegator })
  const warnings: string[] = []
  const ordinals = new Map<string, number>()
  let prefix = options.prefix ?? pin?.prefix
  for (const { frame, ordinal } of placedFrames(plainBytes(stream))) {
    const read = readInto(intake, { frame, ordinal }, { prefix, lenient })
    warnings.push(...read.warnings)
    prefix = read.prefix
    if (read.waiting !== undefined && !ordinals.has(read.waiting)) ordinals.set(read.waiting, ordinal)
  }
  const [waiting] = intake.waiting
  if (waiting !== undefined)
    throw atEvent(waitingRefusal(waiting.kind, waiting.explanation), ordinals.get(waiting.message.event.said) ?? 0)
  const log = prefix === undefined ? undefined : intake.logs.get(prefix)
  if (log === undefined) throw refusal('KEL_SEQ', 'Log holds no inception')
  const { state, events, superseded } = log
  const verified: VerifiedLog = {
    prefix: log.prefix,
    state,
    events,
    superseded,
    warnings,
    stateAt: (sn) => log.stateAt(sn),
    witnessesOf: (said) => log.witnessesOf(said),
  }
  if (pin?.place !== undefined && findPlace(verified, pin.place) === 'missing') throw pinMismatch(pin.place, state.sn)
  return verified
}

function pinMismatch({ sn, said }: Place, end: number): KelError {
  const found = sn > end ? `it ends at event ${end}` : 'it has another event there'
  return new KelError('KEL_PIN_MISMATCH', `The log does not contain event ${sn} of the pin: ${found}`, {
    details: { sn, said, end },
  })
}

import { requireBytes, requireMembers } from '@keyturn/primitives'
import { findPlace } from './compare-logs.ts'
import { KelError } from './errors.ts'
import { Intake } from './intake.ts'
import type { Place } from './key-state.ts'
import { MAX_LOG_BYTES } from './limits.ts'
import { parsePin } from './pin.ts'
import type { Pin } from './pin.ts'
import { Pace } from './pace.ts'
import type { Pause } from './pace.ts'
import { atEvent, placedFrames, readInto, waitingRefusal } from './read-stream.ts'
import type { PlacedFrame } from './read-stream.ts'
import { refusal } from './rule.ts'
import { plainBytes } from './stream.ts'
import type { VerifyContext } from './verify-event.ts'
import type { VerifiedLog } from './verified-log.ts'
import { checkSize } from './work.ts'

/** Options of {@link verifyLog}. */
export interface VerifyLogOptions {
  /** The identity that the log must belong to. Default: that of its first event. */
  readonly prefix?: string | undefined
  /** A pin, as text or parsed: the log must be of that identity and contain the pinned event. Default: none. */
  readonly pin?: Pin | string | undefined
  /** `'keripy'`: let pass what keripy lets pass, and say so in `warnings`. Default: strict. */
  readonly lenient?: 'keripy' | undefined
  /** Largest stream, bytes. Default 4 MiB. One signature for every 256 of them is verified, and at least 16,384. */
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
  requireBytes(stream, 'stream')
  const reading = new LogReading(stream, options)
  for (const placed of placedFrames(plainBytes(stream))) reading.take(placed)
  return reading.finish()
}

/** Options of {@link verifyLogAsync}. */
export interface VerifyLogAsyncOptions extends VerifyLogOptions {
  /** Awaited after every 8 KiB of messages, a few milliseconds of work: other work comes in between. */
  readonly pause: Pause
}

/**
 * {@link verifyLog} for servers: the same verdict, with pauses, so that a long log of a stranger holds up nobody.
 *
 * @param stream - As for {@link verifyLog}; it must not change meanwhile either.
 * @throws {@link KelError} As {@link verifyLog}.
 * @example `const { state } = await verifyLogAsync(bytes, { prefix, pause: setImmediate })`, with the `setImmediate` of
 *   `node:timers/promises`
 */
export async function verifyLogAsync(stream: Uint8Array, options: VerifyLogAsyncOptions): Promise<VerifiedLog> {
  requireBytes(stream, 'stream')
  requireMembers(options, 'options', ['pause'])
  const reading = new LogReading(stream, options)
  const pace = new Pace(options.pause)
  for (const placed of placedFrames(plainBytes(stream))) {
    reading.take(placed)
    if (pace.isDue(placed.frame.bytes.length)) await pace.pause()
  }
  return reading.finish()
}

/** The verification of one log, message by message. */
class LogReading {
  readonly #intake: Intake
  readonly #pin: Pin | undefined
  readonly #lenient: 'keripy' | undefined
  readonly #warnings: string[] = []
  readonly #ordinals = new Map<string, number>()
  #prefix: string | undefined

  constructor(stream: Uint8Array, options: VerifyLogOptions) {
    const { maxBytes = MAX_LOG_BYTES, lenient, delegator } = options
    const pin = typeof options.pin === 'string' ? parsePin(options.pin) : options.pin
    if (pin !== undefined && options.prefix !== undefined && pin.prefix !== options.prefix)
      throw refusal('KEL_PREFIX', `The pin names ${pin.prefix}, expected ${options.prefix}`)
    checkSize(plainBytes(stream), maxBytes)
    this.#intake = new Intake({ delegator: delegatorContext(delegator).delegator })
    this.#pin = pin
    this.#lenient = lenient
    this.#prefix = options.prefix ?? pin?.prefix
  }

  take({ frame, ordinal }: PlacedFrame): void {
    const read = readInto(this.#intake, { frame, ordinal }, { prefix: this.#prefix, lenient: this.#lenient })
    this.#warnings.push(...read.warnings)
    this.#prefix = read.prefix
    if (read.waiting !== undefined && !this.#ordinals.has(read.waiting)) this.#ordinals.set(read.waiting, ordinal)
  }

  /** The log, when nothing waits and the pinned event is in it. */
  finish(): VerifiedLog {
    const [waiting] = this.#intake.waiting
    if (waiting !== undefined)
      throw atEvent(
        waitingRefusal(waiting.kind, waiting.explanation),
        this.#ordinals.get(waiting.message.event.said) ?? 0,
      )
    const log = this.#prefix === undefined ? undefined : this.#intake.logs.get(this.#prefix)
    if (log === undefined) throw refusal('KEL_SEQ', 'Log holds no inception')
    const { state, events, superseded } = log
    const verified: VerifiedLog = {
      prefix: log.prefix,
      state,
      events,
      superseded,
      warnings: this.#warnings,
      stateAt: (sn) => log.stateAt(sn),
      witnessesOf: (said) => log.witnessesOf(said),
    }
    const place = this.#pin?.place
    if (place !== undefined && findPlace(verified, place) === 'missing') throw pinMismatch(place, state.sn)
    return verified
  }
}

function pinMismatch({ sn, said }: Place, end: number): KelError {
  const found = sn > end ? `it ends at event ${end}` : 'it has another event there'
  return new KelError('KEL_PIN_MISMATCH', `The log does not contain event ${sn} of the pin: ${found}`, {
    details: { sn, said, end },
  })
}

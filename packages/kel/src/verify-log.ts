import { requireBytes, requireMembers } from '@keyturn/primitives'
import { findPlace } from './compare-logs.ts'
import { KelError } from './errors.ts'
import { Intake } from './intake.ts'
import type { Place } from './key-state.ts'
import { BYTES_PER_SIGNATURE, MAX_LOG_BYTES, MAX_LOG_SIGNATURES } from './limits.ts'
import { parsePin } from './pin.ts'
import type { Pin } from './pin.ts'
import { Pace } from './pace.ts'
import type { Pause } from './pace.ts'
import { atEvent, placedFrames, readInto, waitingRefusal } from './read-stream.ts'
import type { PlacedFrame } from './read-stream.ts'
import { refusal } from './rule.ts'
import { plainBytes, readFrames } from './stream.ts'
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

/** Characters of the shortest signature in an attachment. */
const SIGNATURE_TEXT_LENGTH = 88

/** Bytes of an event that are hashed in the time of the rest of a verification; hashed again for each signature. */
const HASHED_BYTES = 16 * 1024

/**
 * Refuses a log that asks for more work than its length deserves, before a signature is verified: each costs the
 * processor fifty microseconds, and as much again for every 16 KiB of its event; 4 MiB could hold 47,000. Counted by
 * the length of bodies and attachments, which needs no parsing.
 */
function checkWork(stream: Uint8Array, maxBytes: number): void {
  const limit = Math.max(MAX_LOG_SIGNATURES, Math.floor(maxBytes / BYTES_PER_SIGNATURE))
  let work = 0
  try {
    for (const { bytes, body } of readFrames(stream)) {
      work += ((bytes.length - body.length) / SIGNATURE_TEXT_LENGTH) * (1 + body.length / HASHED_BYTES)
    }
  } catch (error) {
    // The reading reports it at its place, after what comes before it.
    if (!(error instanceof KelError)) throw error
  }
  if (work <= limit) return
  throw refusal('KEL_LIMIT', `Log asks for the work of ${Math.ceil(work)} signatures over short events, limit ${limit}`)
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
    if (stream.length > maxBytes) throw refusal('KEL_LIMIT', `Log of ${stream.length} bytes, limit ${maxBytes}`)
    if (pin !== undefined && options.prefix !== undefined && pin.prefix !== options.prefix)
      throw refusal('KEL_PREFIX', `The pin names ${pin.prefix}, expected ${options.prefix}`)
    checkWork(plainBytes(stream), maxBytes)
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

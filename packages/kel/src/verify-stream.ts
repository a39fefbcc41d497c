import { concatBytes } from '@keyturn/primitives'
import { EventLog } from './log.ts'
import { isKeyEvent, parseMessage } from './message.ts'
import type { KeyState } from './key-state.ts'
import { MAX_ATTACHMENT_BYTES, MAX_EVENT_BYTES } from './limits.ts'
import { refusal } from './rule.ts'
import { resumeLog } from './snapshot.ts'
import type { LogSnapshot } from './snapshot.ts'
import { plainBytes, readFrame } from './stream.ts'
import { waitingRefusal } from './read-stream.ts'
import { delegatorContext } from './verify-log.ts'
import type { VerifiedLog } from './verified-log.ts'

/** Options of {@link verifyLogStream}. */
export interface VerifyStreamOptions {
  /** The identity that the log must belong to. Default: that of its first event. */
  readonly prefix?: string | undefined
  /** `'keripy'`: let pass what keripy lets pass. Default: strict. */
  readonly lenient?: 'keripy' | undefined
  /** Verified log of the delegator, for a delegated identity. */
  readonly delegator?: VerifiedLog | undefined
  /** Go on from a state that was verified before: the stream holds new events only. */
  readonly from?: LogSnapshot | undefined
  readonly signal?: AbortSignal | undefined
}

/** What holds at the end of a stream. */
export interface VerifiedTip {
  readonly prefix: string
  readonly state: KeyState
  /** Events of the stream that were accepted, superseded ones included. */
  readonly eventCount: number
}

const ascii = new TextDecoder('latin1')
const OPEN_BRACE = 0x7b
const MAX_PENDING_BYTES = MAX_EVENT_BYTES + MAX_ATTACHMENT_BYTES + 1

/** Length of the whole messages at the start of `bytes`: a message is whole once the next one has begun. */
function* wholeMessages(bytes: Uint8Array, isLast: boolean): Generator<number> {
  let offset = 0
  while (offset < bytes.length) {
    const start = offset
    // Too little for a version string, or for the body it announces: wait for more.
    if (!isLast && bytes.length - start < 32) return
    const size = isLast ? undefined : sizeAhead(bytes, start)
    if (size !== undefined && (start + size >= bytes.length || bytes.indexOf(OPEN_BRACE, start + size) < 0)) return
    offset = start + readFrame(bytes.subarray(start), 0).bytes.length
    yield offset
  }
}

function sizeAhead(bytes: Uint8Array, offset: number): number | undefined {
  const size = Number.parseInt(ascii.decode(bytes.subarray(offset + 16, offset + 22)), 16)
  return Number.isNaN(size) ? undefined : size
}

/**
 * Verifies a log of any length in bounded memory: of each accepted event only its SAID is kept. Witness signatures have
 * to ride on the events; receipts of their own are passed over.
 *
 * @param chunks - The stream, cut anywhere.
 * @throws {@link KelError} as {@link verifyLog}.
 */
export async function verifyLogStream(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  options: VerifyStreamOptions = {},
): Promise<VerifiedTip> {
  const { lenient, delegator, from, signal } = options
  const context = delegatorContext(delegator)
  let log = from === undefined ? undefined : resumeLog(from, false)
  let eventCount = 0
  const take = (bytes: Uint8Array): void => {
    const message = parseMessage(readFrame(bytes, 0), { lenient })
    if (!isKeyEvent(message)) return
    const prefix = log?.prefix ?? options.prefix ?? message.event.prefix
    if (message.event.prefix !== prefix)
      throw refusal('KEL_PREFIX', `Event ${message.event.sn} belongs to ${message.event.prefix}, the log to ${prefix}`)
    log ??= new EventLog(prefix, false)
    const verdict = log.verify(message, context)
    if (verdict.verdict === 'escrow') throw waitingRefusal(verdict.kind, verdict.explanation)
    if (verdict.verdict === 'duplicity')
      throw refusal('KEL_DUPLICITY', verdict.explanation, { rule: 'order', against: verdict.against.said })
    if (verdict.verdict === 'accept') log.apply(verdict)
    eventCount++
  }
  let pending: Uint8Array = new Uint8Array(0)
  const drain = (isLast: boolean): void => {
    let done = 0
    for (const end of wholeMessages(pending, isLast)) {
      take(pending.subarray(done, end))
      done = end
    }
    pending = pending.slice(done)
    if (pending.length > MAX_PENDING_BYTES)
      throw refusal('KEL_LIMIT', `A message is longer than ${MAX_PENDING_BYTES} bytes`)
  }
  for await (const chunk of chunks) {
    signal?.throwIfAborted()
    pending = pending.length === 0 ? plainBytes(chunk) : concatBytes(pending, chunk)
    drain(false)
  }
  drain(true)
  if (log === undefined || !log.isStarted) throw refusal('KEL_SEQ', 'Log holds no inception')
  return { prefix: log.prefix, state: log.state, eventCount }
}

import type { Intake } from './intake.ts'
import { KelError } from './errors.ts'
import { Pace } from './pace.ts'
import type { Pause } from './pace.ts'
import { parseMessage } from './message.ts'
import { readInto, waitingRefusal } from './read-stream.ts'
import { nextFrameOffset, plainBytes, readFrame } from './stream.ts'

/** Faults that a write cut short by a crash can leave; anything else means that stored bytes were changed. */
const TORN_CODES = new Set(['KEL_PARSE', 'KEL_CESR', 'KEL_UNSIGNED'])

/** Length of the whole messages at the start of a stored stream; what follows is a torn tail. */
export function wholeLength(stream: Uint8Array): number {
  const bytes = plainBytes(stream)
  let offset = 0
  while (offset < bytes.length) {
    try {
      const frame = readFrame(bytes, offset)
      parseMessage(frame, { lenient: 'keripy' })
      offset += frame.bytes.length
    } catch {
      return offset
    }
  }
  return offset
}

function corrupt(error: KelError, offset: number): KelError {
  return new KelError('KEL_CORRUPT', `Stored log is not valid at byte ${offset}: ${error.message}`, {
    details: { offset, code: error.code },
    cause: error,
  })
}

/** Options of {@link replayStored}. */
export interface ReplayOptions {
  readonly lenient?: 'keripy' | undefined
  /** Awaited now and then. */
  readonly pause?: Pause | undefined
}

/**
 * Replays a stored log into an empty intake, with the verdict that `verifyLog` has for the same bytes; only a last
 * message that was cut short is left out and reported as recovered.
 *
 * @returns Warnings.
 * @throws {@link KelError} `KEL_CORRUPT` when anything before the last message is not valid, `KEL_WITNESS` when all
 *   that is missing are witness signatures.
 */
export async function replayStored(
  stream: Uint8Array,
  prefix: string,
  intake: Intake,
  { lenient, pause }: ReplayOptions,
): Promise<string[]> {
  const pace = new Pace(pause)
  const bytes = plainBytes(stream)
  const warnings: string[] = []
  const recovered = (offset: number): string =>
    `KEL_RECOVERED: the last ${bytes.length - offset} bytes of the log were cut short and are left out`
  const waitingFrom = new Map<string, number>()
  let last = 0
  let isCut = false
  for (let [offset, ordinal] = [0, 0]; offset < bytes.length; ordinal++) {
    try {
      const frame = readFrame(bytes, offset)
      const read = readInto(intake, { frame, ordinal }, { prefix, lenient })
      warnings.push(...read.warnings)
      if (read.waiting !== undefined && !waitingFrom.has(read.waiting)) waitingFrom.set(read.waiting, offset)
      last = offset
      offset += frame.bytes.length
      if (pace.isDue(frame.bytes.length)) await pace.pause()
    } catch (error) {
      if (!(error instanceof KelError)) throw error
      const isLast = nextFrameOffset(bytes, offset) === bytes.length
      if (!isLast || offset === 0 || !TORN_CODES.has(error.code)) throw corrupt(error, offset)
      warnings.push(recovered(offset))
      isCut = true
      break
    }
  }
  const [first, ...others] = intake.waiting
  if (first === undefined) return warnings
  const { said } = first.message.event
  // A crash between the groups of attachments leaves an event that lacks some of its signatures: the last one, once.
  const isLast = others.length === 0 && !isCut && waitingFrom.get(said) === last
  const isTorn = isLast && first.kind !== 'out-of-order' && intake.logs.has(prefix)
  const error = waitingRefusal(first.kind, first.explanation)
  if (!isTorn) throw error.code === 'KEL_WITNESS' ? error : corrupt(error, last)
  intake.forget(said)
  return [...warnings, recovered(last)]
}

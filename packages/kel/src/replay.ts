import type { Intake } from './intake.ts'
import { KelError } from './errors.ts'
import { isKeyEvent, parseMessage } from './message.ts'
import type { Message } from './message.ts'
import { nextFrameOffset, plainBytes, readFrame } from './stream.ts'
import type { Frame } from './stream.ts'

/** Faults that a write cut short by a crash can leave; anything else means that stored bytes were changed. */
const tornCodes = new Set(['KEL_PARSE', 'KEL_CESR', 'KEL_UNSIGNED'])

function replayMessage(intake: Intake, message: Message, prefix: string): readonly string[] {
  if (message.event.prefix !== prefix) {
    throw new KelError(
      'KEL_PREFIX',
      `Event ${message.event.sn} belongs to ${message.event.prefix}, the log to ${prefix}`,
    )
  }
  if (!isKeyEvent(message)) {
    intake.offerReceipt(message)
    return []
  }
  const judgement = intake.offer(message)
  if (judgement.verdict === 'accept') intake.commit(judgement)
  else if (judgement.verdict !== 'idempotent') {
    const isNew = message.event.sn === 0 && judgement.verdict === 'escrow' && judgement.kind === 'partial-witness'
    throw new KelError(isNew ? 'KEL_WITNESS' : 'KEL_UNSIGNED', judgement.explanation)
  }
  return message.event.warnings
}

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

/**
 * Replays a stored log into an empty intake.
 *
 * @returns Warnings; a last message that was cut short is left out and reported as recovered.
 * @throws {@link KelError} `KEL_CORRUPT` when anything before the last message does not stand, `KEL_WITNESS` for a lone
 *   inception that too few witnesses have signed.
 */
export function replayStored(stream: Uint8Array, prefix: string, intake: Intake, lenient?: 'keripy'): string[] {
  const bytes = plainBytes(stream)
  const warnings: string[] = []
  let offset = 0
  while (offset < bytes.length) {
    let frame: Frame | undefined
    try {
      frame = readFrame(bytes, offset)
      warnings.push(...replayMessage(intake, parseMessage(frame, { lenient }), prefix))
    } catch (error) {
      if (!(error instanceof KelError)) throw error
      const isLast = nextFrameOffset(bytes, offset) === bytes.length
      if (isLast && offset > 0 && tornCodes.has(error.code)) {
        warnings.push(
          `KEL_RECOVERED: the last ${bytes.length - offset} bytes of the log were cut short and are left out`,
        )
        return warnings
      }
      // A new identity whose witnesses have not signed yet is whole.
      if (isLast && offset === 0 && error.code === 'KEL_WITNESS') throw error
      throw new KelError('KEL_CORRUPT', `Stored log does not stand at byte ${offset}: ${error.message}`, {
        details: { offset, code: error.code },
        cause: error,
      })
    }
    offset += frame.bytes.length
  }
  return warnings
}

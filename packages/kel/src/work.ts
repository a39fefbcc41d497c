import { KelError } from './errors.ts'
import { BYTES_PER_SIGNATURE, MAX_LOG_SIGNATURES } from './limits.ts'
import { refusal } from './rule.ts'
import { nextFrameOffset, readFrame } from './stream.ts'
import type { Frame } from './stream.ts'

/** Characters of the shortest signature in an attachment. */
const SIGNATURE_TEXT_LENGTH = 88

/** Bytes of an event that are hashed in the time of the rest of a verification; hashed again for each signature. */
const HASHED_BYTES = 16 * 1024

/** What reading a message costs, its signatures apart, as a share of one verification. */
const WORK_OF_MESSAGE = 1 / 4

/**
 * What a message asks for, in verifications of a signature over a short event: each costs the processor fifty
 * microseconds, and as much again for every 16 KiB of its event. Counted by the length of body and attachments, which
 * needs no parsing.
 */
export function workOf({ bytes, body }: Pick<Frame, 'bytes' | 'body'>): number {
  return WORK_OF_MESSAGE + ((bytes.length - body.length) / SIGNATURE_TEXT_LENGTH) * (1 + body.length / HASHED_BYTES)
}

/** Most work that a log of up to `maxBytes` may ask for. */
export function workLimit(maxBytes: number): number {
  return Math.max(MAX_LOG_SIGNATURES, Math.floor(maxBytes / BYTES_PER_SIGNATURE))
}

/** What all messages of a stream ask for; those that follow one that cannot be read are counted too. */
export function workOfStream(stream: Uint8Array): number {
  let work = 0
  for (let offset = 0; offset < stream.length;) {
    try {
      const frame = readFrame(stream, offset)
      work += workOf(frame)
      offset += frame.bytes.length
    } catch (error) {
      if (!(error instanceof KelError)) throw error
      offset = nextFrameOffset(stream, offset)
    }
  }
  return work
}

/**
 * Refuses a stream that is too long, or that asks for more work than its length deserves, before a signature is
 * verified: 4 MiB could hold 47,000 of them. The same for all that read a log.
 *
 * @throws {@link KelError} `KEL_LIMIT`.
 */
export function checkSize(stream: Uint8Array, maxBytes: number): void {
  if (stream.length > maxBytes) throw refusal('KEL_LIMIT', `Log of ${stream.length} bytes, limit ${maxBytes}`)
  const [work, limit] = [workOfStream(stream), workLimit(maxBytes)]
  if (work <= limit) return
  throw refusal('KEL_LIMIT', `Log asks for the work of ${Math.ceil(work)} signatures over short events, limit ${limit}`)
}

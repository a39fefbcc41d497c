import { quoted, refusal } from '../rule.ts'
import { decodeValue, encodeValue } from './base64url.ts'
import { matterSizes } from './codes.ts'
import type { MatterSize } from './codes.ts'

/** A CESR primitive: a code that says what the bytes are, and the bytes. */
export interface Matter {
  readonly code: string
  readonly raw: Uint8Array
}

/**
 * Writes a primitive as text (qb64).
 *
 * @param code - One of the codes of docs/spec/kel.md §2.1.
 * @param raw - As many bytes as the code says.
 * @throws RangeError when the code is unknown or the length is not the code's.
 */
export function encodeMatter(code: string, raw: Uint8Array): string {
  const size = matterSizes.get(code)
  if (size === undefined || raw.length !== size.rawLength) {
    throw new RangeError(`Cannot encode ${raw.length} bytes under code ${code}`)
  }
  return code + encodeValue(raw, size.codeLength % 4)
}

/** Length of the primitive whose code begins at `offset`, with its code. */
function matterAt(text: string, offset: number): { code: string; size: MatterSize } {
  const first = text[offset] ?? ''
  const codeLength = first === '1' ? 4 : first === '0' ? 2 : 1
  const code = text.slice(offset, offset + codeLength)
  const size = matterSizes.get(code)
  if (size === undefined) throw refusal('KEL_CESR', `Unknown CESR code ${quoted(code)} at character ${offset}`)
  if (offset + size.textLength > text.length) {
    throw refusal('KEL_CESR', `CESR value of code ${code} at character ${offset} is cut short`)
  }
  return { code, size }
}

/** Refuses a value that does not decode; the padding must be zero, so that each value has one spelling. */
export function refuseValue(what: string): never {
  throw refusal('KEL_CESR', `${what} is not Base64url, or its pad bits are not zero`)
}

/**
 * Reads the primitive at `offset` of a longer text.
 *
 * @returns The primitive and the offset after it.
 * @throws {@link KelError} `KEL_CESR`.
 */
export function readMatter(text: string, offset: number): { matter: Matter; end: number } {
  const { code, size } = matterAt(text, offset)
  const end = offset + size.textLength
  const raw =
    decodeValue(text, offset + size.codeLength, end, size.codeLength % 4) ?? refuseValue(`CESR value of code ${code}`)
  return { matter: { code, raw }, end }
}

/**
 * Parses a text that is one primitive and nothing else.
 *
 * @param text - qb64.
 * @param field - Name for messages.
 * @param codes - Codes that are allowed here.
 * @throws {@link KelError} `KEL_CESR`.
 */
export function parseMatter(text: string, field: string, codes?: ReadonlySet<string>): Matter {
  const { matter, end } = readMatter(text, 0)
  if (end !== text.length) throw refusal('KEL_CESR', `Field ${field} has ${text.length - end} characters too many`)
  if (codes !== undefined && !codes.has(matter.code)) {
    throw refusal('KEL_CESR', `Field ${field} has code ${matter.code}, expected ${[...codes].join(' or ')}`)
  }
  return matter
}

// A code of one character and 32 bytes: 8 pad bits, 6 of them under the code, so two bits of the next digit are zero.
const shortForm = /^[A-Z][A-P][A-Za-z0-9_-]{42}$/

/**
 * Checks a text of the common form, one code character and 32 bytes, without decoding it.
 *
 * @throws {@link KelError} `KEL_CESR`.
 */
export function checkShortMatter(text: string, field: string, codes: ReadonlySet<string>): void {
  if (shortForm.test(text) && codes.has(text[0] as string)) return
  // The slow way finds the words for what is wrong.
  parseMatter(text, field, codes)
}

const sequenceBytes = 16

/** Writes a sequence number as the 24-character primitive of attachments: code 0A, 128 bits, big-endian. */
export function encodeSequence(sn: number): string {
  const raw = new Uint8Array(sequenceBytes)
  new DataView(raw.buffer).setBigUint64(8, BigInt(sn))
  return encodeMatter('0A', raw)
}

/** Reads back {@link encodeSequence}; numbers that a JavaScript number cannot hold are refused. */
export function decodeSequence(matter: Matter): number {
  const view = new DataView(matter.raw.buffer, matter.raw.byteOffset, matter.raw.length)
  const value = view.getBigUint64(8)
  if (matter.code !== '0A' || view.getBigUint64(0) !== 0n || value > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw refusal('KEL_SEQ', 'Sequence number of an attachment is out of range')
  }
  return Number(value)
}

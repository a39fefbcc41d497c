import { base64urlDecode, base64urlEncode } from '@keyturn/primitives'
import { quoted, refusal } from '../rule.ts'
import { matterSizes, type MatterSize } from './codes.ts'

/** A CESR primitive: a code that tells what the bytes are, and the bytes. */
export interface Matter { readonly code: string; readonly raw: Uint8Array }

const padCharacters = ['', 'A', 'AA', 'AAA'] as const

/**
 * Writes a primitive as text (qb64).
 *
 * @param code - One of the codes of docs/spec/kel.md §2.1.
 * @param raw - As many bytes as the code stands for.
 * @throws RangeError when the code is unknown or the length is not the code's.
 */
export function encodeMatter(code: string, raw: Uint8Array): string {
  const size = matterSizes.get(code)
  if (size === undefined || raw.length !== size.rawLength) {
    throw new RangeError(`Cannot encode ${raw.length} bytes under code ${code}`)
  }
  const padLength = size.codeLength % 4
  const padded = new Uint8Array(padLength + raw.length)
  padded.set(raw, padLength)
  return code + base64urlEncode(padded).slice(padLength)
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

/** Decodes Base64url text whose first bytes are padding; the padding must be zero, so each value has one spelling. */
export function decodePadded(body: string, padLength: number, what: string): Uint8Array {
  let padded: Uint8Array
  try {
    padded = base64urlDecode(padCharacters[padLength] + body)
  } catch (cause) {
    throw Object.assign(refusal('KEL_CESR', `${what} is not Base64url`), { cause })
  }
  for (let i = 0; i < padLength; i++) {
    if (padded[i] !== 0) throw refusal('KEL_CESR', `${what} has non-zero pad bits`)
  }
  return padLength === 0 ? padded : padded.subarray(padLength)
}

/**
 * Reads the primitive at `offset` of a longer text.
 *
 * @returns The primitive and the offset behind it.
 * @throws {@link KelError} `KEL_CESR`.
 */
export function readMatter(text: string, offset: number): { matter: Matter; end: number } {
  const { code, size } = matterAt(text, offset)
  const end = offset + size.textLength
  const raw = decodePadded(text.slice(offset + size.codeLength, end), size.codeLength % 4, `CESR value of code ${code}`)
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

const sequencePadding = 16

/** Writes a sequence number as the 24-character primitive of attachments: code 0A, 128 bits, big-endian. */
export function encodeSequence(sn: number): string {
  const raw = new Uint8Array(sequencePadding)
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

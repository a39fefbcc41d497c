import { quoted, refusal } from '../rule.ts'
import { encodeValue } from './base64url.ts'
import { alphabet, indexerSizes } from './codes.ts'
import { decodeValue } from './base64url.ts'
import { refuseValue } from './matter.ts'

/**
 * A signature with the place of its key in the current list, and in the list of promised digests where it exposes one.
 */
export interface IndexedSignature {
  readonly code: string
  /** Place of the key in `k` (or of the witness in the witness list). */
  readonly index: number
  /** Place of the key's digest in the prior `n`; undefined for a signature that counts for the current list only. */
  readonly ondex: number | undefined
  readonly signature: Uint8Array
}

const MAX_BIG_INDEX = 4095

function digits(value: number, length: number): string {
  let text = ''
  for (let i = length - 1; i >= 0; i--) text += alphabet[(value >> (6 * i)) & 63]
  return text
}

function value(text: string): number {
  let total = 0
  for (const character of text) {
    const digit = alphabet.indexOf(character)
    if (digit < 0) throw refusal('KEL_CESR', `Character ${quoted(character)} is not Base64url`)
    total = total * 64 + digit
  }
  return total
}

/**
 * Writes an Ed25519 signature with its places: the short code where index and ondex agree and fit, else the long one.
 *
 * @param signature - 64 bytes.
 * @param index - Place in the current key list, 0 to 4095.
 * @param ondex - Place in the prior digest list; `undefined` marks a signature for the current list only.
 */
export function encodeIndexedSignature(
  signature: Uint8Array,
  index: number,
  ondex: number | undefined = index,
): string {
  if (signature.length !== 64) throw new RangeError(`Signature has ${signature.length} bytes, expected 64`)
  for (const place of [index, ondex ?? 0]) {
    if (!Number.isInteger(place) || place < 0 || place > MAX_BIG_INDEX)
      throw new RangeError(`Index ${place} is out of range`)
  }
  const big = index > 63 || (ondex !== undefined && ondex !== index)
  const code = (big ? '2' : '') + (ondex === undefined ? 'B' : 'A')
  const places = big ? digits(index, 2) + digits(ondex ?? 0, 2) : digits(index, 1)
  return code + places + encodeValue(signature, 2)
}

/** Writes a signature that counts for the current key list only (codes B and 2B). */
export function encodeCurrentOnlySignature(signature: Uint8Array, index: number): string {
  const text = encodeIndexedSignature(signature, index)
  return text.startsWith('2A') ? `2B${text.slice(2, 4)}AA${text.slice(6)}` : `B${text.slice(1)}`
}

/**
 * Reads the indexed signature at `offset`.
 *
 * @throws {@link KelError} `KEL_CESR`.
 */
export function readIndexedSignature(text: string, offset: number): { signature: IndexedSignature; end: number } {
  const first = text[offset] ?? ''
  const code = text.slice(offset, offset + (first === '0' || first === '2' || first === '3' ? 2 : 1))
  const size = indexerSizes.get(code)
  if (size === undefined) throw refusal('KEL_CESR', `Unknown code ${quoted(code)} of an indexed signature`)
  const end = offset + size.textLength
  if (end > text.length) throw refusal('KEL_CESR', `Indexed signature at character ${offset} is cut short`)
  const indexAt = offset + size.codeLength
  const index = value(text.slice(indexAt, indexAt + size.indexLength))
  const big = size.codeLength === 2
  const ondexText = big ? text.slice(indexAt + size.indexLength, indexAt + 2 * size.indexLength) : ''
  const own = big ? value(ondexText) : index
  if (size.ondex === 'none' && big && own !== 0)
    throw refusal('KEL_CESR', `Signature of code ${code} has a second index`)
  const bodyAt = indexAt + size.indexLength * (big ? 2 : 1)
  const signature = decodeValue(text, bodyAt, end, 2) ?? refuseValue(`Indexed signature of code ${code}`)
  return { signature: { code, index, ondex: size.ondex === 'none' ? undefined : own, signature }, end }
}

import { PrimitivesError, printable } from './errors.ts'

// Every decoder here accepts exactly one text per byte string: what differs after encoding again is refused.

function refuse(encoding: string, text: string): never {
  throw new PrimitivesError(
    'PRIM_ENCODING',
    `Cannot decode ${encoding}: text of ${text.length} characters is not canonical`,
    {
      details: { encoding, length: text.length },
    },
  )
}

const HEX_DIGITS = '0123456789abcdef'
const HEX_PAIRS: readonly string[] = Array.from(
  { length: 256 },
  (_, byte) => (HEX_DIGITS[byte >> 4] as string) + (HEX_DIGITS[byte & 15] as string),
)

/** Bytes to lower-case hex. */
export function hexEncode(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) text += HEX_PAIRS[byte] as string
  return text
}

function hexDigit(code: number): number {
  if (code >= 48 && code <= 57) return code - 48
  if (code >= 97 && code <= 102) return code - 87
  return -1
}

/**
 * Lower-case hex to bytes.
 *
 * @throws {@link PrimitivesError} `PRIM_ENCODING` for odd length, upper case or anything else.
 */
export function hexDecode(text: string): Uint8Array<ArrayBuffer> {
  if (text.length % 2 !== 0) refuse('hex', text)
  const bytes = new Uint8Array(text.length / 2)
  for (let index = 0; index < bytes.length; index++) {
    const high = hexDigit(text.charCodeAt(index * 2))
    const low = hexDigit(text.charCodeAt(index * 2 + 1))
    if (high < 0 || low < 0) refuse('hex', text)
    bytes[index] = high * 16 + low
  }
  return bytes
}

/** An alphabet whose symbols carry `bits` bits each, most significant first. */
interface Radix {
  readonly name: string
  readonly alphabet: string
  readonly bits: number
  /** Value of each ASCII character, -1 for those outside the alphabet; made when first needed. */
  values?: Int8Array
}

function valuesOf(radix: Radix): Int8Array {
  if (radix.values !== undefined) return radix.values
  const values = new Int8Array(128).fill(-1)
  for (let value = 0; value < radix.alphabet.length; value++) values[radix.alphabet.charCodeAt(value)] = value
  radix.values = values
  return values
}

function radixEncode({ alphabet, bits }: Radix, bytes: Uint8Array): string {
  const mask = (1 << bits) - 1
  let text = ''
  let pending = 0
  let pendingBits = 0
  for (const byte of bytes) {
    pending = ((pending << 8) | byte) & 0xffff
    pendingBits += 8
    while (pendingBits >= bits) {
      pendingBits -= bits
      text += alphabet[(pending >> pendingBits) & mask] as string
    }
  }
  if (pendingBits > 0) text += alphabet[(pending << (bits - pendingBits)) & mask] as string
  return text
}

function radixDecode(radix: Radix, text: string, original: string): Uint8Array<ArrayBuffer> {
  const { name, bits } = radix
  const values = valuesOf(radix)
  const bytes = new Uint8Array(Math.floor((text.length * bits) / 8))
  let pending = 0
  let pendingBits = 0
  let offset = 0
  // Texts of strangers pass here, some of them hundreds of kilobytes long.
  for (let at = 0; at < text.length; at++) {
    const value = values[text.charCodeAt(at)] ?? -1
    if (value < 0) refuse(name, original)
    pending = ((pending << bits) | value) & 0xffff
    pendingBits += bits
    if (pendingBits >= 8) {
      pendingBits -= 8
      bytes[offset++] = (pending >> pendingBits) & 0xff
    }
  }
  // A whole unused symbol, or unused bits that are set, would be a second spelling of the same bytes.
  if (pendingBits >= bits || (pending & ((1 << pendingBits) - 1)) !== 0) refuse(name, original)
  return bytes
}

const BASE64_CORE = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'
const BASE64: Radix = { name: 'base64', alphabet: `${BASE64_CORE}+/`, bits: 6 }
const BASE64URL: Radix = { name: 'base64url', alphabet: `${BASE64_CORE}-_`, bits: 6 }
const Z32: Radix = { name: 'z-base-32', alphabet: 'ybndrfg8ejkmcpqxot1uwisza345h769', bits: 5 }

/** Bytes to base64 with padding (RFC 4648 §4). */
export function base64Encode(bytes: Uint8Array): string {
  const text = radixEncode(BASE64, bytes)
  return text + '='.repeat((4 - (text.length % 4)) % 4)
}

/**
 * Padded base64 (RFC 4648 §4) to bytes.
 *
 * @throws {@link PrimitivesError} `PRIM_ENCODING` for missing padding, white space or bits left over.
 */
export function base64Decode(text: string): Uint8Array<ArrayBuffer> {
  if (text.length % 4 !== 0) refuse('base64', text)
  const unpadded = text.replace(/={1,2}$/, '')
  if ((4 - (unpadded.length % 4)) % 4 !== text.length - unpadded.length) refuse('base64', text)
  return radixDecode(BASE64, unpadded, text)
}

/** Bytes to base64url without padding (RFC 4648 §5). */
export function base64urlEncode(bytes: Uint8Array): string {
  return radixEncode(BASE64URL, bytes)
}

/**
 * Base64url without padding (RFC 4648 §5) to bytes.
 *
 * @throws {@link PrimitivesError} `PRIM_ENCODING` for padding, white space or bits left over.
 */
export function base64urlDecode(text: string): Uint8Array<ArrayBuffer> {
  return radixDecode(BASE64URL, text, text)
}

/** Bytes to z-base-32, the spelling of pkarr and Pubky names. */
export function z32Encode(bytes: Uint8Array): string {
  return radixEncode(Z32, bytes)
}

/**
 * Z-base-32 to bytes.
 *
 * @throws {@link PrimitivesError} `PRIM_ENCODING` for other symbols or bits left over.
 */
export function z32Decode(text: string): Uint8Array<ArrayBuffer> {
  return radixDecode(Z32, text, text)
}

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * Text to UTF-8.
 *
 * @throws {@link PrimitivesError} `PRIM_ENCODING` for a lone surrogate, which has no UTF-8.
 */
export function utf8Encode(text: string): Uint8Array<ArrayBuffer> {
  if (!text.isWellFormed()) {
    throw new PrimitivesError('PRIM_ENCODING', `Cannot encode "${printable(text)}" as UTF-8: it holds a lone surrogate`)
  }
  return encoder.encode(text)
}

/**
 * UTF-8 to text; a byte order mark is kept as a character.
 *
 * @throws {@link PrimitivesError} `PRIM_ENCODING` for invalid UTF-8.
 */
export function utf8Decode(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes)
  } catch (cause) {
    throw new PrimitivesError('PRIM_ENCODING', `Cannot decode ${bytes.length} bytes: they are not valid UTF-8`, {
      cause,
    })
  }
}

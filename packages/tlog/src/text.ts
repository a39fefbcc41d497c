import { base64Decode, printable, utf8Decode, utf8Encode } from '@keyturn/primitives'
import { TlogError } from './errors.ts'
import type { TlogErrorCode } from './errors.ts'
import { MAX_NAME_BYTES, MAX_TREE_SIZE } from './limits.ts'

/** Bytes of a SHA-256 hash. */
export const HASH_LENGTH = 32

/** Text from outside between quotes, safe to show. */
export function quoted(text: string): string {
  return `"${printable(text, 80)}"`
}

/** Decodes UTF-8 up to a limit, or throws the error of the format that is read. */
export function textOf(bytes: Uint8Array, maxBytes: number, what: string, code: TlogErrorCode): string {
  if (bytes.length > maxBytes) {
    throw new TlogError('TLOG_LIMIT', `Cannot read ${what}: ${bytes.length} bytes, limit ${maxBytes}`)
  }
  try {
    return utf8Decode(bytes)
  } catch (cause) {
    throw new TlogError(code, `Cannot read ${what}: it is not valid UTF-8`, { cause })
  }
}

/** A decimal number of leaves without sign or leading zeros; `undefined` for anything else. */
export function parseSize(text: string): number | undefined {
  if (!/^(?:0|[1-9][0-9]{0,15})$/.test(text)) return undefined
  const value = Number(text)
  return value <= MAX_TREE_SIZE ? value : undefined
}

/** Canonical base64; `undefined` for anything else. */
export function tryBase64(text: string): Uint8Array | undefined {
  try {
    return base64Decode(text)
  } catch {
    return undefined
  }
}

/** A hash in base64; `undefined` for anything else. */
export function parseHash(text: string): Uint8Array | undefined {
  const hash = text.length === 44 ? tryBase64(text) : undefined
  return hash?.length === HASH_LENGTH ? hash : undefined
}

/** Whether a text can name a key: not empty, not long, without spaces, plus signs and control characters. */
export function isKeyName(name: string): boolean {
  return (
    name !== '' &&
    name.isWellFormed() &&
    !/[\p{White_Space}\p{Cc}+]/u.test(name) &&
    utf8Encode(name).length <= MAX_NAME_BYTES
  )
}

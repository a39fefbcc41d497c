import { parseStrictJson } from '@keyturn/primitives'
import type { JsonValue } from '@keyturn/primitives'
import { ServerError } from '../errors.ts'

/** Most values of one JSON body: the largest list of the API has 10,000 items, twice over. */
const MAX_VALUES = 50_000

const QUOTE = 0x22
const BACKSLASH = 0x5c
const COMMA = 0x2c
const COLON = 0x3a
const OPEN_ARRAY = 0x5b
const OPEN_OBJECT = 0x7b

/**
 * Refuses a document of more values than any call has, by a scan that builds nothing: parsing costs memory by value.
 */
function checkValues(bytes: Uint8Array): void {
  let values = 0
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at]
    if (byte === QUOTE) {
      for (at++; at < bytes.length && bytes[at] !== QUOTE; at++) if (bytes[at] === BACKSLASH) at++
    } else if (byte === COMMA || byte === COLON || byte === OPEN_ARRAY || byte === OPEN_OBJECT) {
      values += 1
      if (values > MAX_VALUES)
        throw new ServerError('SRV_LIMIT', `Cannot read this JSON: it has more than ${MAX_VALUES} values`)
    }
  }
}

/** Reads the JSON body of a request: strict, and bounded in bytes and values. */
export function parseJsonBody(bytes: Uint8Array, maxBytes: number): JsonValue {
  checkValues(bytes)
  return parseStrictJson(bytes, { maxBytes })
}

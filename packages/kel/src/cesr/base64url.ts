// CESR values in place: a value is inside a longer text, its pad bytes are zero and their characters are taken by the
// code. The general codec would need a copy of the text per value and is several times slower; a log has five values
// per event.

import { alphabet } from './codes.ts'

const INVALID = 64

const valueOf = new Uint8Array(128).fill(INVALID)
for (let i = 0; i < 64; i++) valueOf[alphabet.charCodeAt(i)] = i

// Values are cut from slabs: a native verifier has to give each small array of its own a buffer first, which costs as
// much as the rest of the parsing.
const SLAB_BYTES = 8192
let slab = new Uint8Array(SLAB_BYTES)
let slabUsed = 0

function allocate(length: number): Uint8Array {
  if (length > SLAB_BYTES / 8) return new Uint8Array(length)
  if (slabUsed + length > SLAB_BYTES) {
    slab = new Uint8Array(SLAB_BYTES)
    slabUsed = 0
  }
  slabUsed += length
  return slab.subarray(slabUsed - length, slabUsed)
}

/**
 * Decodes the characters from `start` to `end` as if `padLength` characters of value zero were in front of them.
 *
 * @returns The bytes after `padLength` zero bytes; undefined when a character is foreign or a pad bit is set.
 */
export function decodeValue(text: string, start: number, end: number, padLength: number): Uint8Array | undefined {
  const length = ((end - start + padLength) / 4) * 3 - padLength
  const bytes = allocate(length)
  let pending = 0
  let pendingBits = 6 * padLength
  let at = -padLength
  for (let i = start; i < end; i++) {
    const code = text.charCodeAt(i)
    const value = code < 128 ? (valueOf[code] as number) : INVALID
    if (value === INVALID) return undefined
    pending = (pending << 6) | value
    pendingBits += 6
    while (pendingBits >= 8) {
      pendingBits -= 8
      const byte = (pending >> pendingBits) & 0xff
      if (at >= 0) bytes[at] = byte
      else if (byte !== 0) return undefined
      at++
    }
    pending &= 0xff
  }
  return bytes
}

/** Encodes bytes after `padLength` zero bytes and leaves out the first `padLength` characters, where the code goes. */
export function encodeValue(bytes: Uint8Array, padLength: number): string {
  let text = ''
  let pending = 0
  let pendingBits = 8 * padLength - 6 * padLength
  for (let i = 0; i < bytes.length; i++) {
    pending = (pending << 8) | (bytes[i] as number)
    pendingBits += 8
    while (pendingBits >= 6) {
      pendingBits -= 6
      text += alphabet[(pending >> pendingBits) & 63] as string
    }
    pending &= 0xff
  }
  return text
}

/**
 * Whether the characters of `text` from `start` on spell these bytes after `padLength` zero bytes; nothing is
 * allocated.
 */
export function isValueOf(text: string, start: number, bytes: Uint8Array, padLength: number): boolean {
  let pending = 0
  let pendingBits = 8 * padLength - 6 * padLength
  let at = start
  for (let i = 0; i < bytes.length; i++) {
    pending = (pending << 8) | (bytes[i] as number)
    pendingBits += 8
    while (pendingBits >= 6) {
      pendingBits -= 6
      const code = text.charCodeAt(at++)
      if (!(code < 128) || valueOf[code] !== ((pending >> pendingBits) & 63)) return false
    }
    pending &= 0xff
  }
  return at === text.length
}

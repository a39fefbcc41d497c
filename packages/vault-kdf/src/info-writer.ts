import type { labels } from './labels.ts'

const encoder = new TextEncoder()
const COUNTER_ROOM = 32
// A label, a header, four ids of 255 bytes, their lengths, the counter: well below.
const scratch = new Uint8Array(4096)

/** A finished info string with room for HKDF's counter: valid until the next one is begun. */
export interface InfoString {
  /** 32 bytes of room for the block before, then the info string, then the counter byte. */
  readonly bytes: Uint8Array
  /** Bytes of info string and counter. */
  readonly length: number
}

function putLength(at: number, length: number): void {
  scratch[at] = length >>> 24
  scratch[at + 1] = length >>> 16
  scratch[at + 2] = length >>> 8
  scratch[at + 3] = length
}

/** Writes LP(text) at an offset; gives the offset behind it. */
function putText(at: number, text: string): number {
  const start = at + 4
  let length = text.length
  for (let index = 0; index < length; index++) {
    const code = text.charCodeAt(index)
    if (code > 0x7f) {
      length = encoder.encodeInto(text, scratch.subarray(start)).written
      break
    }
    scratch[start + index] = code
  }
  putLength(at, length)
  return start + length
}

/**
 * Writes LP(label) LP(header) LP(text)… into memory that is used again and again: a seal builds
 * three such strings, and allocating them costs more than hashing them.
 */
export function messageInfo(
  label: typeof labels.commit | typeof labels.layer,
  header: Uint8Array,
  texts: readonly string[],
): InfoString {
  let at = putText(COUNTER_ROOM, label)
  putLength(at, header.length)
  scratch.set(header, at + 4)
  at += 4 + header.length
  for (const text of texts) at = putText(at, text)
  return { bytes: scratch, length: at - COUNTER_ROOM + 1 }
}

/** Where the info string begins in {@link InfoString.bytes}. */
export const infoStart = COUNTER_ROOM

import { utf8Encode } from '@keyturn/primitives'

const MARKS = ['"version"', '"files"'].map(utf8Encode)

function contains(bytes: Uint8Array, mark: Uint8Array): boolean {
  const [first] = mark
  for (let at = bytes.indexOf(first as number); at >= 0; at = bytes.indexOf(first as number, at + 1)) {
    if (mark.every((byte, index) => bytes[at + index] === byte)) return true
  }
  return false
}

/**
 * Whether bytes look like a manifest, without parsing them: nothing is parsed before it is trusted.
 * A login page of a hotel does not have it, a tampered manifest does.
 */
export function looksLikeManifest(bytes: Uint8Array): boolean {
  return bytes[0] === 0x7b && MARKS.every((mark) => contains(bytes, mark))
}

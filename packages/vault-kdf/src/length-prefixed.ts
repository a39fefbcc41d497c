const encoder = new TextEncoder()

/** UTF-8 bytes of a text that was checked before. */
export function utf8(text: string): Uint8Array {
  return encoder.encode(text)
}

/** Four bytes, big-endian. */
export function be32(value: number): Uint8Array {
  return new Uint8Array([value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff])
}

/**
 * LP(x₁) LP(x₂) …: each part after its length as u32 big-endian, so that a string of parts reads one way only
 * (a colon between them would not do: `a:b` + `c` and `a` + `b:c` would meet).
 *
 * @param parts - Texts (as UTF-8) or bytes.
 */
export function lengthPrefixed(...parts: readonly (string | Uint8Array)[]): Uint8Array {
  const bytes = parts.map((part) => (typeof part === 'string' ? encoder.encode(part) : part))
  const out = new Uint8Array(bytes.reduce((sum, part) => sum + 4 + part.length, 0))
  let offset = 0
  for (const part of bytes) {
    out.set(be32(part.length), offset)
    out.set(part, offset + 4)
    offset += 4 + part.length
  }
  return out
}

import type { ByteStream } from './blob-store.ts'

/** Gathers bytes into pieces of one length; the last may be shorter. */
export async function* pieces(source: ByteStream, length: number): AsyncGenerator<Uint8Array, undefined, undefined> {
  let piece = new Uint8Array(length)
  let filled = 0
  for await (const part of source) {
    for (let taken = 0; taken < part.length;) {
      const count = Math.min(part.length - taken, length - filled)
      piece.set(part.subarray(taken, taken + count), filled)
      taken += count
      filled += count
      if (filled < length) continue
      yield piece
      piece = new Uint8Array(length)
      filled = 0
    }
  }
  if (filled > 0) yield piece.slice(0, filled)
  return undefined
}

import { concatBytes } from './bytes.ts'
import { utf8Encode } from './encodings.ts'
import { sha256 } from './hash.ts'

/** How long pieces get. The average is a power of two. */
export interface PieceLengths {
  /** No cut below this length. */
  readonly minBytes: number
  /** Length aimed at. */
  readonly averageBytes: number
  /** A cut is made here at the latest. */
  readonly maxBytes: number
}

const NORMALISATION = 2
let gear: Int32Array | undefined

/** The gear table: one fixed pseudo-random number for each byte value. */
function gearTable(): Int32Array {
  const seed = sha256(utf8Encode('gear-v1'))
  return Int32Array.from({ length: 256 }, (_, byte) => {
    const digest = sha256(concatBytes(seed, Uint8Array.of(byte)))
    return new DataView(digest.buffer, digest.byteOffset, 4).getInt32(0, true)
  })
}

/** The topmost `bits` bits: those of a gear hash that depend on the widest window. */
function topMask(bits: number): number {
  return ((2 ** bits - 1) << (32 - bits)) | 0
}

/**
 * Finds where content says that a piece ends (FastCDC with a gear hash, normalised): docs/spec/manifest.md §8. A cut
 * depends on the bytes just before it, so an insertion moves one boundary and not all that follow.
 */
export class ContentCutter {
  readonly #lengths: PieceLengths
  readonly #gear: Int32Array
  readonly #earlyMask: number
  readonly #lateMask: number
  #hash = 0
  #pieceBytes = 0

  /** @param lengths - Of pieces. */
  constructor(lengths: PieceLengths) {
    const bits = Math.log2(lengths.averageBytes)
    if (!Number.isInteger(bits) || bits < 4 || bits > 28) throw new RangeError('averageBytes must be a power of two')
    this.#lengths = lengths
    this.#gear = gear ??= gearTable()
    this.#earlyMask = topMask(bits + NORMALISATION)
    this.#lateMask = topMask(bits - NORMALISATION)
  }

  /** Bytes of the piece so far. */
  get pieceBytes(): number {
    return this.#pieceBytes
  }

  /**
   * Takes bytes `start` to `limit` into the piece, up to its end.
   *
   * @returns The index after the last byte of the piece, or -1 when it goes on after `limit`. Call `reset` at its end.
   */
  find(bytes: Uint8Array, start: number, limit: number): number {
    const { minBytes, averageBytes, maxBytes } = this.#lengths
    const clamp = (pieceBytes: number): number => Math.min(limit, start + Math.max(0, pieceBytes - this.#pieceBytes))
    const [first, middle, last] = [clamp(minBytes), clamp(averageBytes), clamp(maxBytes)]
    // Cutting is harder before the average length and easier after it: lengths gather around the average.
    const early = this.#scan(bytes, first, middle, this.#earlyMask)
    const found = early >= 0 ? early : this.#scan(bytes, middle, last, this.#lateMask)
    const end = found >= 0 ? found : last
    this.#pieceBytes += end - start
    return found >= 0 || this.#pieceBytes === maxBytes ? end : -1
  }

  /** Starts a piece. */
  reset(): void {
    this.#hash = 0
    this.#pieceBytes = 0
  }

  #scan(bytes: Uint8Array, from: number, to: number, mask: number): number {
    const table = this.#gear
    let [at, hash] = [from, this.#hash]
    // Four bytes a turn: what a turn costs besides them is as much as a byte.
    for (; at + 3 < to; at += 4) {
      const first = ((hash << 1) + (table[bytes[at] as number] as number)) | 0
      const second = ((first << 1) + (table[bytes[at + 1] as number] as number)) | 0
      const third = ((second << 1) + (table[bytes[at + 2] as number] as number)) | 0
      hash = ((third << 1) + (table[bytes[at + 3] as number] as number)) | 0
      if ((first & mask) === 0) return at + 1
      if ((second & mask) === 0) return at + 2
      if ((third & mask) === 0) return at + 3
      if ((hash & mask) === 0) return at + 4
    }
    for (; at < to; at++) {
      hash = ((hash << 1) + (table[bytes[at] as number] as number)) | 0
      if ((hash & mask) === 0) return at + 1
    }
    this.#hash = hash
    return -1
  }
}

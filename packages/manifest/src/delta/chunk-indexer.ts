import { createSha256 } from '@keyturn/primitives'
import type { RunningHash } from '@keyturn/primitives'
import type { ChunkIndex } from './chunk-index.ts'
import { gearTable } from './params.ts'
import type { ChunkParams } from './params.ts'

const NORMALISATION = 2
const GEAR = gearTable()

/** The topmost `bits` bits: those of a gear hash that depend on the widest window. */
function topMask(bits: number): number {
  return ((2 ** bits - 1) << (32 - bits)) | 0
}

/**
 * Cuts a blob into content-defined chunks as it streams by (FastCDC with a gear hash, normalised), and hashes them.
 * The cut depends on the bytes just before it, so an insertion moves one boundary and not all that follow. Where the
 * caller knows the structure of the blob, cuts are forced there, so that a changed piece costs itself alone.
 */
export class ChunkIndexer {
  readonly #params: ChunkParams
  readonly #cuts: readonly number[]
  readonly #earlyMask: number
  readonly #lateMask: number
  readonly #whole = createSha256()
  readonly #lengths: number[] = []
  readonly #digests: Uint8Array[] = []
  #chunk: RunningHash = createSha256()
  #chunkBytes = 0
  #gear = 0
  #offset = 0
  #nextCut = 0

  /**
   * @param params - From `chunkParamsFor`.
   * @param cuts - Offsets where pieces of the blob start, ascending: an archive's segments. None by default.
   */
  constructor(params: ChunkParams, cuts: readonly number[] = []) {
    for (let index = 1; index < cuts.length; index++) {
      if ((cuts[index] as number) <= (cuts[index - 1] as number)) throw new RangeError('Cuts have to ascend')
    }
    const bits = Math.log2(params.averageBytes)
    this.#params = params
    this.#cuts = cuts
    this.#earlyMask = topMask(bits + NORMALISATION)
    this.#lateMask = topMask(bits - NORMALISATION)
    this.#skipPassedCuts()
  }

  /** Takes the next bytes; they are not kept. */
  update(bytes: Uint8Array): this {
    this.#whole.update(bytes)
    let at = 0
    while (at < bytes.length) {
      const room = Math.min(bytes.length - at, this.#params.maxBytes - this.#chunkBytes, this.#bytesToForcedCut())
      const cut = this.#findCut(bytes, at, at + room)
      const end = cut < 0 ? at + room : cut
      this.#chunk.update(bytes.subarray(at, end))
      this.#chunkBytes += end - at
      this.#offset += end - at
      at = end
      if (cut >= 0 || this.#chunkBytes === this.#params.maxBytes || this.#isForcedHere()) this.#endChunk()
      this.#skipPassedCuts()
    }
    return this
  }

  /** The index of all bytes given; the indexer is spent. */
  finish(): ChunkIndex {
    if (this.#chunkBytes > 0) this.#endChunk()
    const digests = new Uint8Array(this.#digests.length * 32)
    this.#digests.forEach((digest, index) => digests.set(digest, index * 32))
    return {
      params: this.#params.id,
      blobBytes: this.#offset,
      blobSha256: this.#whole.digest(),
      lengths: Uint32Array.from(this.#lengths),
      digests,
    }
  }

  /** The end of the chunk by content within `start` to `limit`, or -1. */
  #findCut(bytes: Uint8Array, start: number, limit: number): number {
    const { minBytes, averageBytes } = this.#params
    const clamp = (chunkBytes: number): number => Math.min(limit, start + Math.max(0, chunkBytes - this.#chunkBytes))
    const [first, middle] = [clamp(minBytes), clamp(averageBytes)]
    // Cutting is harder before the average length and easier after it: lengths gather around the average.
    const early = this.#scan(bytes, first, middle, this.#earlyMask)
    return early >= 0 ? early : this.#scan(bytes, middle, limit, this.#lateMask)
  }

  #scan(bytes: Uint8Array, from: number, to: number, mask: number): number {
    let gear = this.#gear
    for (let at = from; at < to; at++) {
      gear = ((gear << 1) + (GEAR[bytes[at] as number] as number)) | 0
      if ((gear & mask) === 0) return at + 1
    }
    this.#gear = gear
    return -1
  }

  #bytesToForcedCut(): number {
    const cut = this.#cuts[this.#nextCut]
    return cut === undefined ? Number.POSITIVE_INFINITY : cut - this.#offset
  }

  /** Whether the chunk ends here because a piece does; short neighbours stay together, a long one starts afresh. */
  #isForcedHere(): boolean {
    if (this.#cuts[this.#nextCut] !== this.#offset) return false
    const nextPiece = (this.#cuts[this.#nextCut + 1] ?? Number.POSITIVE_INFINITY) - this.#offset
    return this.#chunkBytes >= this.#params.groupBytes || nextPiece >= this.#params.minBytes
  }

  #skipPassedCuts(): void {
    while (this.#bytesToForcedCut() <= 0) this.#nextCut++
  }

  #endChunk(): void {
    this.#lengths.push(this.#chunkBytes)
    this.#digests.push(this.#chunk.digest())
    this.#chunk = createSha256()
    this.#chunkBytes = 0
    this.#gear = 0
  }
}

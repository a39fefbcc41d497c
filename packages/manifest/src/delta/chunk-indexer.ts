import { ContentCutter, createSha256 } from '@keyturn/primitives'
import type { RunningHash } from '@keyturn/primitives'
import type { ChunkIndex } from './chunk-index.ts'
import type { ChunkParams } from './params.ts'

/**
 * Cuts a blob into content-defined chunks as it streams by (FastCDC with a gear hash, normalised), and hashes them.
 * The cut depends on the bytes just before it, so an insertion moves one boundary and not all that follow. Where the
 * caller knows the structure of the blob, cuts are forced there, so that a changed piece costs itself alone.
 */
export class ChunkIndexer {
  readonly #params: ChunkParams
  readonly #cuts: readonly number[]
  readonly #cutter: ContentCutter
  readonly #whole = createSha256()
  readonly #lengths: number[] = []
  readonly #digests: Uint8Array[] = []
  #chunk: RunningHash = createSha256()
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
    this.#params = params
    this.#cuts = cuts
    this.#cutter = new ContentCutter(params)
    this.#skipPassedCuts()
  }

  /** Takes the next bytes; they are not kept. */
  update(bytes: Uint8Array): this {
    this.#whole.update(bytes)
    let at = 0
    while (at < bytes.length) {
      const room = Math.min(bytes.length - at, this.#bytesToForcedCut())
      const cut = this.#cutter.find(bytes, at, at + room)
      const end = cut < 0 ? at + room : cut
      this.#chunk.update(bytes.subarray(at, end))
      this.#offset += end - at
      at = end
      if (cut >= 0 || this.#isForcedHere()) this.#endChunk()
      this.#skipPassedCuts()
    }
    return this
  }

  /** The index of all bytes given; the indexer is spent. */
  finish(): ChunkIndex {
    if (this.#cutter.pieceBytes > 0) this.#endChunk()
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

  #bytesToForcedCut(): number {
    const cut = this.#cuts[this.#nextCut]
    return cut === undefined ? Number.POSITIVE_INFINITY : cut - this.#offset
  }

  /** Whether the chunk ends here because a piece does; short neighbours stay together, a long one starts afresh. */
  #isForcedHere(): boolean {
    if (this.#cuts[this.#nextCut] !== this.#offset) return false
    const nextPiece = (this.#cuts[this.#nextCut + 1] ?? Number.POSITIVE_INFINITY) - this.#offset
    return this.#cutter.pieceBytes >= this.#params.groupBytes || nextPiece >= this.#params.minBytes
  }

  #skipPassedCuts(): void {
    while (this.#bytesToForcedCut() <= 0) this.#nextCut++
  }

  #endChunk(): void {
    this.#lengths.push(this.#cutter.pieceBytes)
    this.#digests.push(this.#chunk.digest())
    this.#chunk = createSha256()
    this.#cutter.reset()
  }
}

import { hexEncode, sha256, sha256Hex } from '@keyturn/primitives'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  chunkDigest,
  ChunkIndexer,
  chunkParams,
  chunkParamsFor,
  parseChunkIndex,
  planDelta,
  writeChunkIndex,
} from '../src/delta/index.ts'
import type { ChunkIndex, ChunkParams, DeltaPlan, ExpectedIndex } from '../src/delta/index.ts'

const params = chunkParams.get(1) as ChunkParams
const small: ChunkParams = { id: 1, minBytes: 64, averageBytes: 256, maxBytes: 1024, groupBytes: 16 }

/** Bytes that look random and are the same in every run (xorshift). */
function noise(length: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(length)
  let x = seed | 1
  for (let at = 0; at < length; at++) {
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    bytes[at] = x
  }
  return bytes
}

function indexOf(bytes: Uint8Array, cuts: readonly number[] = [], using = params, step = bytes.length): ChunkIndex {
  const indexer = new ChunkIndexer(using, cuts)
  for (let at = 0; at < bytes.length; at += Math.max(1, step))
    indexer.update(bytes.subarray(at, at + Math.max(1, step)))
  return indexer.finish()
}

function rebuild(plan: DeltaPlan, seeds: readonly Uint8Array[], target: Uint8Array): Uint8Array {
  const made = new Uint8Array(target.length)
  for (const { seed, sourceOffset, offset, length } of plan.copies) {
    made.set((seeds[seed] as Uint8Array).subarray(sourceOffset, sourceOffset + length), offset)
  }
  for (const { offset, length } of plan.ranges) made.set(target.subarray(offset, offset + length), offset)
  return made
}

describe('ChunkIndexer', () => {
  it('covers every byte with chunks whose hashes fit', () => {
    const bytes = noise(1_000_000, 7)
    const index = indexOf(bytes)
    let offset = 0
    index.lengths.forEach((length, chunk) => {
      expect(sha256(bytes.subarray(offset, offset + length))).toEqual(chunkDigest(index, chunk))
      offset += length
    })
    expect(offset).toBe(bytes.length)
    expect(index.blobSha256).toEqual(sha256(bytes))
  })

  it('takes cuts that ascend, and no others', () => {
    for (const cuts of [
      [1000, 1000],
      [2000, 1000],
    ])
      expect(() => indexOf(noise(10_000, 7), cuts), String(cuts)).toThrow(RangeError)
  })

  it('keeps lengths between the smallest and the longest, around the average', () => {
    const { lengths } = indexOf(noise(8_000_000, 3))
    const inner = Array.from(lengths.slice(0, -1))
    expect(Math.min(...inner)).toBeGreaterThanOrEqual(params.minBytes)
    expect(Math.max(...inner)).toBeLessThanOrEqual(params.maxBytes)
    const average = inner.reduce((sum, length) => sum + length, 0) / inner.length
    expect(average).toBeGreaterThan(40 * 1024)
    expect(average).toBeLessThan(110 * 1024)
  })

  it('gives the same index however the bytes arrive', () => {
    fc.assert(
      fc.property(
        fc.integer(),
        fc.integer({ min: 0, max: 6000 }),
        fc.integer({ min: 1, max: 700 }),
        (seed, length, step) => {
          const bytes = noise(length, seed)
          const cuts = [100, 130, 900, 2000].filter((cut) => cut < length)
          expect(writeChunkIndex(indexOf(bytes, cuts, small, step))).toEqual(
            writeChunkIndex(indexOf(bytes, cuts, small)),
          )
        },
      ),
    )
  })

  it('cuts where pieces start and groups the short ones', () => {
    const bytes = noise(600_000, 5)
    const cuts = [1000, 1500, 4000, 300_000, 300_100]
    const { lengths } = indexOf(bytes, cuts)
    const starts = new Set<number>()
    let offset = 0
    for (const length of lengths) {
      starts.add(offset)
      offset += length
    }
    expect([...starts].slice(0, 3)).toEqual([0, 4000, expect.any(Number)])
    expect(starts).toContain(300_000)
    expect(starts).toContain(300_100)
    expect(starts).not.toContain(1000)
  })

  it('finds its way back after an insertion', () => {
    const bytes = noise(4_000_000, 11)
    const edited = new Uint8Array(bytes.length + 10)
    edited.set(bytes.subarray(0, 1_000_000))
    edited.set(bytes.subarray(1_000_000), 1_000_010)
    const before = new Set(
      [...indexOf(bytes).lengths.keys()].map((chunk) => hexEncode(chunkDigest(indexOf(bytes), chunk))),
    )
    const after = indexOf(edited)
    const fresh = [...after.lengths.keys()].filter((chunk) => !before.has(hexEncode(chunkDigest(after, chunk))))
    expect(fresh.length).toBeLessThanOrEqual(3)
  })

  it('leaves small blobs without an index', () => {
    expect(chunkParamsFor(256 * 1024 - 1)).toBeUndefined()
    expect(chunkParamsFor(256 * 1024)?.id).toBe(1)
    expect(chunkParamsFor(3 * 2 ** 30)?.id).toBe(2)
  })
})

describe('planDelta()', () => {
  it('rebuilds any new blob from any old ones', () => {
    fc.assert(
      fc.property(
        fc.integer(),
        fc.array(
          fc.record({
            at: fc.integer({ min: 0, max: 9999 }),
            remove: fc.integer({ min: 0, max: 500 }),
            insert: fc.integer({ min: 0, max: 500 }),
          }),
          { maxLength: 6 },
        ),
        fc.integer({ min: 0, max: 400 }),
        (seed, edits, mergeGapBytes) => {
          const old = noise(10_000, seed)
          let bytes = old
          for (const { at, remove, insert } of edits) {
            bytes = Uint8Array.from([
              ...bytes.subarray(0, at),
              ...noise(insert, seed + at + 1),
              ...bytes.subarray(at + remove),
            ])
          }
          const target = indexOf(bytes, [], small)
          const plan = planDelta(target, [{ index: indexOf(old, [], small) }], {
            mergeGapBytes,
            maxRangeBytes: 3000,
            requestCostBytes: 1,
          })
          expect(rebuild(plan, [old], bytes)).toEqual(bytes)
          expect(plan.downloadBytes).toBeLessThanOrEqual(bytes.length)
          if (!plan.whole) for (const { length } of plan.ranges) expect(length).toBeLessThanOrEqual(3000)
        },
      ),
    )
  })

  it('fetches nothing for the same blob and all of it without a seed', () => {
    const bytes = noise(2_000_000, 2)
    const index = indexOf(bytes)
    expect(planDelta(index, [{ index }])).toMatchObject({ ranges: [], downloadBytes: 0, whole: false })
    expect(planDelta(index, [])).toMatchObject({ downloadBytes: bytes.length, whole: true, copies: [] })
  })

  it('merges small gaps but not at any price', () => {
    const bytes = noise(4_000_000, 9)
    const index = indexOf(bytes)
    const everyOther = { ...index, digests: index.digests.slice() }
    for (let chunk = 0; chunk < index.lengths.length; chunk += 2)
      everyOther.digests.fill(0, chunk * 32, chunk * 32 + 32)
    const plan = planDelta(index, [{ index: everyOther }], { mergeGapBytes: 1 << 20, wholeShare: 1 })
    const missing = index.lengths.reduce((sum, length, chunk) => sum + (chunk % 2 === 0 ? length : 0), 0)
    expect(plan.downloadBytes).toBeLessThanOrEqual(missing * 1.05)
  })
})

describe('parseChunkIndex()', () => {
  const blob = noise(500_000, 1)
  const index = indexOf(blob)
  const bytes = writeChunkIndex(index)
  const expected: ExpectedIndex = {
    blobSha256: sha256Hex(blob),
    blobBytes: blob.length,
    reference: { sha256: sha256Hex(bytes), size: bytes.length, chunks: index.lengths.length, params: 1 },
  }

  it('reads what was written', () => {
    expect(parseChunkIndex(bytes, expected)).toEqual(index)
  })

  it('refuses each cut and each flipped bit with its own code', () => {
    for (let length = 0; length < bytes.length; length++) {
      expect(() => parseChunkIndex(bytes.subarray(0, length), expected)).toThrow(
        expect.objectContaining({ code: 'MAN_INDEX' }),
      )
    }
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const flipped = bytes.slice()
      flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7))
      expect(() => parseChunkIndex(flipped, expected)).toThrow(expect.objectContaining({ code: 'MAN_INDEX' }))
    }
  })

  it('refuses a rightly named index of another file', () => {
    expect(() => parseChunkIndex(bytes, { ...expected, blobBytes: 1 })).toThrow(
      expect.objectContaining({ code: 'MAN_INDEX' }),
    )
    const chunks = { ...expected, reference: { ...expected.reference, chunks: 1 } }
    expect(() => parseChunkIndex(bytes, chunks)).toThrow(expect.objectContaining({ code: 'MAN_INDEX' }))
  })

  it('reads any bytes or throws its own error', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (anything) => {
        try {
          parseChunkIndex(anything)
        } catch (error) {
          expect(error).toMatchObject({ name: 'ManifestError' })
        }
      }),
    )
  })
})

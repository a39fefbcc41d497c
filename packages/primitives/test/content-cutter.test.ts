import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { concatBytes, ContentCutter, sha256 } from '../src/index.ts'
import type { PieceLengths } from '../src/index.ts'

function lengthsOf(bytes: Uint8Array, lengths: PieceLengths, step = bytes.length): number[] {
  const cutter = new ContentCutter(lengths)
  const found: number[] = []
  for (let at = 0; at < bytes.length;) {
    const limit = Math.min(bytes.length, at + step)
    const end = cutter.find(bytes, at, limit)
    at = end < 0 ? limit : end
    if (end < 0 && at < bytes.length) continue
    found.push(cutter.pieceBytes)
    cutter.reset()
  }
  return found
}

/** SHA-256 of u32 0, 1, 2 and so on, little-endian. */
function stream(count: number): Uint8Array {
  const blocks = Array.from({ length: Math.ceil(count / 32) }, (_, at) =>
    sha256(new Uint8Array(Uint32Array.of(at).buffer)),
  )
  return concatBytes(...blocks).slice(0, count)
}

const KIB = 1024
const lengths = { minBytes: 16 * KIB, averageBytes: 64 * KIB, maxBytes: 256 * KIB }

describe('ContentCutter', () => {
  it('cuts where a program in another language, written from the specification, cuts', () => {
    // Computed by packages/m2pack-format/test/vectors/m2p-v2.py.
    const expected = [
      21405, 75505, 97279, 72642, 80637, 67878, 20718, 21869, 70846, 73900, 95410, 73987, 71248, 102586, 54090,
    ]
    expect(lengthsOf(stream(1_000_000), lengths)).toEqual(expected)
  })

  it('does not depend on how the bytes arrive', () => {
    const bytes = stream(400_000)
    const whole = lengthsOf(bytes, lengths)
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 100_000 }), (step) => {
        expect(lengthsOf(bytes, lengths, step)).toEqual(whole)
      }),
      { numRuns: 30 },
    )
  })

  it('finds each cut, whatever its distance from where the bytes start to arrive', () => {
    const short = { minBytes: 4, averageBytes: 16, maxBytes: 64 }
    const bytes = stream(20_000)
    const oneByOne = lengthsOf(bytes, short, 1)
    expect(new Set(oneByOne).size).toBeGreaterThan(30)
    for (const step of [2, 3, 4, 5, 7, 8, 11, 20_000]) expect(lengthsOf(bytes, short, step)).toEqual(oneByOne)
  })

  it('keeps to the lengths: no piece but the last is below the least, none above the most', () => {
    for (const bytes of [new Uint8Array(1_000_000), stream(1_000_000)]) {
      const found = lengthsOf(bytes, lengths)
      expect(found.reduce((sum, length) => sum + length, 0)).toBe(bytes.length)
      expect(Math.max(...found)).toBeLessThanOrEqual(lengths.maxBytes)
      expect(Math.min(...found.slice(0, -1))).toBeGreaterThanOrEqual(lengths.minBytes)
    }
  })

  it('an insertion moves the cuts near it and no others', () => {
    const bytes = stream(2_000_000)
    const longer = concatBytes(bytes.subarray(0, 700_000), Uint8Array.of(1, 2, 3), bytes.subarray(700_000))
    const [before, after] = [lengthsOf(bytes, lengths), lengthsOf(longer, lengths)]
    let [head, tail] = [0, 0]
    while (before[head] === after[head]) head++
    while (before.at(-1 - tail) === after.at(-1 - tail)) tail++
    expect(before.length - head - tail).toBeLessThanOrEqual(3)
    expect(head).toBeGreaterThan(4)
    expect(tail).toBeGreaterThan(10)
  })

  it('refuses an average that is not a power of two', () => {
    for (const averageBytes of [0, 3, 8, 100_000, 2 ** 29])
      expect(() => new ContentCutter({ ...lengths, averageBytes })).toThrow(RangeError)
  })
})

import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { OneAtATime, PrimitivesError, formatBytes, isRecord, sha256Hex } from '../src/index.ts'

describe('OneAtATime', () => {
  it('OneAtATime.run() starts nothing before what was asked for earlier has ended, failed work included', async () => {
    const queue = new OneAtATime()
    const seen: string[] = []
    const step =
      (name: string, fails = false) =>
      async (): Promise<string> => {
        seen.push(`${name} starts`)
        await new Promise((resolve) => setImmediate(resolve))
        seen.push(`${name} ends`)
        if (fails) throw new Error(name)
        return name
      }
    const results = await Promise.allSettled([queue.run(step('a')), queue.run(step('b', true)), queue.run(step('c'))])
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    expect(seen).toEqual(['a starts', 'a ends', 'b starts', 'b ends', 'c starts', 'c ends'])
  })

  it('OneAtATime.run() gives a synchronous throw to its caller alone', async () => {
    const queue = new OneAtATime()
    await expect(
      queue.run(() => {
        throw new Error('at once')
      }),
    ).rejects.toThrow('at once')
    expect(await queue.run(() => 7)).toBe(7)
  })

  it('OneAtATime.idle() resolves after the last piece of work, whatever became of it', async () => {
    const queue = new OneAtATime()
    let ended = false
    const failing = queue.run(async () => {
      await new Promise((resolve) => setImmediate(resolve))
      ended = true
      throw new Error('badly')
    })
    await queue.idle()
    expect(ended).toBe(true)
    await expect(failing).rejects.toThrow('badly')
  })
})

it('isRecord() accepts objects with named members and nothing else', () => {
  expect([{}, { a: 1 }, Object.create(null)].map((value) => isRecord(value))).toEqual([true, true, true])
  expect([null, undefined, [], 'text', 1, true].map((value) => isRecord(value))).not.toContain(true)
})

it('sha256Hex() spells the digest in lower-case hex', () => {
  const bytes = new TextEncoder().encode('abc')
  expect(sha256Hex(bytes)).toBe(createHash('sha256').update(bytes).digest('hex'))
})

it('formatBytes() shows three significant digits in decimal units', () => {
  const counts = [0, 734, 999, 1000, 12_345, 123_456, 999_499, 999_999, 1_234_567, 5e15]
  const shown = ['0 B', '734 B', '999 B', '1.00 kB', '12.3 kB', '123 kB', '999 kB', '1.00 MB', '1.23 MB', '5000 TB']
  expect(counts.map(formatBytes)).toEqual(shown)
  expect(formatBytes(3_000_000n)).toBe('3.00 MB')
})

it('an error leaves details out that are undefined', () => {
  const error = new PrimitivesError('PRIM_JSON', 'Cannot read this', { details: { offset: 3, name: undefined } })
  expect(Object.entries(error.details)).toEqual([['offset', 3]])
})

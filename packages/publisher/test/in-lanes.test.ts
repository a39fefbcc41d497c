import { setTimeout } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { inLanes } from '../src/tree/in-lanes.ts'

describe('inLanes()', () => {
  it('works on each item once, on no more at a time than it may', async () => {
    const done: number[] = []
    let [running, most] = [0, 0]
    await inLanes([...Array(20).keys()], 3, async (item) => {
      most = Math.max(most, (running += 1))
      await setTimeout(item % 3)
      done.push(item)
      running -= 1
    })
    expect(done.toSorted((one, other) => one - other)).toEqual([...Array(20).keys()])
    expect(most).toBe(3)
  })

  it('throws the first error when nothing runs any more, and begins nothing else', async () => {
    const ended: number[] = []
    const working = inLanes([0, 1, 2, 3], 2, async (item) => {
      if (item === 0) throw new Error('first')
      await setTimeout(5)
      ended.push(item)
    })
    await expect(working).rejects.toThrow('first')
    expect(ended).toEqual([1])
  })
})

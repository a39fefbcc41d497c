import { closeSync, mkdirSync, openSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { BuildJob } from '../src/node/build-job.ts'
import { BuildShare, bytesInFlightOf, MAX_BYTES_IN_FLIGHT } from '../src/node/build-share.ts'
import { stopFlag } from '../src/node/share.ts'
import { SharedProgress, sharePaths, shareSecrets } from '../src/node/shared.ts'
import { FORM, SharedTable } from '../src/node/shared-table.ts'
import { UnitArena } from '../src/node/unit-arena.ts'
import { slots } from './support/craft.ts'
import { randomOf } from './support/mutate.ts'
import { temporaryFolder } from './support/tree.ts'

const SEGMENT = 65_536

describe('UnitArena', () => {
  it('keeps the bytes of all units in flight, in a ring that never grows', () => {
    const random = randomOf(20261201)
    const arena = new UnitArena(1000)
    const inFlight: { bytes: Uint8Array; value: number }[] = []
    let most = 0
    for (let turn = 0; turn < 20_000; turn++) {
      const capacity = random() % 400
      if (arena.hasRoom(capacity)) {
        arena.start(capacity)
        const length = random() % (capacity + 1)
        arena.room.fill(turn & 0xff, 0, length)
        arena.take(length)
        inFlight.push({ bytes: arena.taken, value: turn & 0xff })
      }
      while (inFlight.length > random() % 12) {
        const { bytes, value } = inFlight.shift() as (typeof inFlight)[0]
        if (!bytes.every((byte) => byte === value)) throw new Error(`Turn ${turn}: a unit was written over`)
        arena.leave()
      }
      most = Math.max(most, arena.bytesInFlight)
    }
    expect(most).toBeGreaterThan(700)
    expect(most).toBeLessThanOrEqual(1000)
  })

  it('refuses a unit without room, and one that takes more than its room', () => {
    const arena = new UnitArena(100)
    arena.start(60)
    arena.take(60)
    expect(arena.hasRoom(60)).toBe(false)
    expect(() => arena.start(60)).toThrow(RangeError)
    expect(() => arena.take(1)).toThrow(RangeError)
    arena.leave()
    expect(arena.hasRoom(100)).toBe(true)
    expect(() => new UnitArena(1).taken).toThrow('No unit')
  })
})

/** One file of many segments that do not compress. */
function jobOf(version: 1 | 2, threads: number): BuildJob {
  const root = temporaryFolder()
  mkdirSync(join(root, 'tree'))
  const random = randomOf(7)
  const size = 40 * SEGMENT
  writeFileSync(join(root, 'tree/large'), new Uint8Array(size).map(random))
  const stop = stopFlag()
  return {
    kind: 'build',
    root: join(root, 'tree'),
    paths: ['large'],
    ...sharePaths([new TextEncoder().encode('large')]),
    table: SharedTable.plan([size], { version, segmentSize: SEGMENT, stop }).memory,
    descriptor: openSync(join(root, 'archive'), 'w+'),
    level: 1,
    align: 1,
    slots: shareSecrets(slots),
    newest: [...slots.keys()].at(-1) as number,
    previous: undefined,
    threads,
    stop,
    progress: new SharedProgress().counts,
  }
}

describe('bytes in flight while an archive is packed', () => {
  it('are 64 MiB of all threads, and at least two units of each', () => {
    expect(MAX_BYTES_IN_FLIGHT).toBe(64 * 1024 * 1024)
    expect(bytesInFlightOf(2, 4_300_000)).toBe(MAX_BYTES_IN_FLIGHT / 2)
    expect(bytesInFlightOf(64, 4_300_000)).toBe(8_600_000)
  })

  it.each([1, 2] as const)('a thread waits for a slower one with no more than its part, version %i', (version) => {
    const job = jobOf(version, 64)
    const [table, share] = [new SharedTable(job.table), new BuildShare(job)]
    const most = bytesInFlightOf(64, table.unitCapacity)
    // Another thread has the first unit, and does not get on with it.
    expect(table.takeUnit()).toBe(0)
    table.raiseForm(0, FORM.plain)
    let waited = 0
    for (let turn = share.turn(); turn !== 'done'; turn = share.turn()) {
      expect(share.bytesInFlight).toBeLessThanOrEqual(most)
      if (turn === 'blocked' && waited++ === 0) {
        expect(share.bytesInFlight).toBeGreaterThan(most - 2 * table.unitCapacity)
        table.setEnd(0, table.start(0) as number)
      }
    }
    share.close()
    closeSync(job.descriptor)
    expect(waited).toBe(1)
    expect(share.bytesInFlight).toBe(0)
    expect(table.payloadEnd).toBeGreaterThan(30 * SEGMENT)
  })
})

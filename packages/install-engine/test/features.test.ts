import { describe, expect, it } from 'vitest'
import type { Chunk } from '../src/fetch/part-file.ts'
import { MAX_GAP_BYTES, MAX_REQUEST_BYTES, planRanges } from '../src/fetch/ranges.ts'
import { RateLimit } from '../src/fetch/rate-limit.ts'
import type { Fetch } from '../src/index.ts'
import { engineFor, installedTree, treeFetch } from './support/install.ts'
import { noise, Publisher } from './support/publisher.ts'

const KIB = 1024
/** Pieces of these lengths, one after the other. */
function pieces(lengths: readonly number[]): Chunk[] {
  let offset = 0
  return lengths.map((length) => {
    const chunk = { offset, length }
    offset += length
    return chunk
  })
}

describe('planRanges()', () => {
  it('asks for neighbors, and for what is close to them, in one request', () => {
    const chunks = pieces([10 * KIB, 20 * KIB, 12 * KIB, MAX_GAP_BYTES, 5 * KIB, MAX_GAP_BYTES + 1, 5 * KIB])
    expect(planRanges(chunks, [])).toEqual([])
    expect(planRanges(chunks, [0, 1]).map(({ start, end }) => [start, end])).toEqual([[0, 30 * KIB]])
    expect(planRanges(chunks, [0, 2]).map(({ first, last, start, end }) => [first, last, start, end])).toEqual([
      [0, 2, 0, 42 * KIB],
    ])
    expect(planRanges(chunks, [2, 4, 6]).map(({ first, last }) => [first, last])).toEqual([
      [2, 4],
      [6, 6],
    ])
  })

  it('never asks for more than eight MiB at a time, and covers every missing piece once', () => {
    const chunks = pieces(Array.from({ length: 900 }, (_, index) => (16 + ((index * 7919) % 64)) * KIB))
    const missing = chunks.flatMap((_, index) => (index % 3 === 0 ? [] : [index]))
    const requests = planRanges(chunks, missing)
    for (const { start, end } of requests) expect(end - start).toBeLessThanOrEqual(MAX_REQUEST_BYTES)
    const covered = requests.flatMap(({ first, last }) =>
      Array.from({ length: last - first + 1 }, (_, index) => first + index),
    )
    expect(new Set(covered).size).toBe(covered.length)
    expect(missing.every((index) => covered.includes(index))).toBe(true)
    expect(requests.length).toBeLessThan(missing.length / 2)
  })
})

describe('a limit', () => {
  it('changes while downloads wait for it: what a slow one held goes on at once when it is taken away', async () => {
    let now = 0
    const limit = new RateLimit(1000, () => now)
    let done = 0
    const waiting = Promise.all(
      [1, 2, 3].map(async () => {
        await limit.take(1_000_000)
        done += 1
      }),
    )
    await new Promise((resolve) => setImmediate(resolve))
    expect(done).toBe(0) // a quarter of an hour, by the clock that stands still
    limit.set(undefined)
    await waiting
    expect([done, limit.bytesPerSecond]).toEqual([3, undefined])
    limit.set(10)
    now += 1000
    await limit.take(1)
    expect(() => limit.set(0)).toThrow(RangeError)
  })

  it('can be changed in the middle of an update by setLimit()', async () => {
    const publisher = await Publisher.create()
    await publisher.release({ 'big.bin': noise(3_000_000, 4) }, { index: false })
    const lifting: { lift?: () => void } = {}
    const fetch: Fetch = async (url, init) => {
      const answer = await treeFetch(publisher.tree)(url, init)
      if (url.includes('/files/')) lifting.lift?.()
      return answer
    }
    // At ten bytes a second it would take three days.
    const { engine } = await engineFor(publisher, { fetch, bytesPerSecond: 10 })
    lifting.lift = () => engine.setLimit(undefined)
    expect(await engine.update()).toMatchObject({ outcome: 'updated' })
    expect((await engine.status()).bytesPerSecond).toBeUndefined()
  })
})

describe('what is installed', () => {
  const text = (value: string, more: object) => ({ bytes: new TextEncoder().encode(value), ...more })
  const files = {
    'base.txt': 'all',
    'voice/cs.txt': text('cs', { group: 'voice-cs' }),
    'voice/en.txt': text('en', { group: 'voice-en' }),
    'client.exe': text('MZ', { platform: 'windows' }),
    client: text('ELF', { platform: 'linux' }),
  }

  it('is the content groups that were chosen, the others go when the choice changes', async () => {
    const publisher = await Publisher.create()
    await publisher.release(files)
    const { engine, folder } = await engineFor(publisher, { groups: ['voice-cs'] })
    await engine.update()
    expect([...(await installedTree(folder)).keys()].sort()).toEqual(['base.txt', 'client.exe', 'voice/cs.txt'])
    const { engine: all } = await engineFor(publisher, { folder })
    await all.update()
    expect([...(await installedTree(folder)).keys()].sort()).toEqual([
      'base.txt',
      'client.exe',
      'voice/cs.txt',
      'voice/en.txt',
    ])
  })

  it('is what the target asks for', async () => {
    const publisher = await Publisher.create()
    await publisher.release(files)
    const { engine, folder } = await engineFor(publisher, { target: 'linux' })
    await engine.update()
    expect([...(await installedTree(folder)).keys()].sort()).toEqual([
      'base.txt',
      'client',
      'voice/cs.txt',
      'voice/en.txt',
    ])
  })

  it('stays what it is when a release asks for another machine, more room, or a newer launcher', async () => {
    const publisher = await Publisher.create()
    await publisher.release(files)
    const { engine, folder } = await engineFor(publisher)
    await engine.update()
    const before = [...(await installedTree(folder)).keys()]
    for (const [place, build, code] of [
      [{ requires: { arch: ['sparc'] } }, {}, 'LA_REQUIRES'],
      [{ requires: { os: ['plan9'] } }, {}, 'LA_REQUIRES'],
      [{ requires: { freeBytes: 2 ** 52 } }, {}, 'LA_DISK_FULL'],
      [{}, { minLauncherVersion: '99.0.0' }, 'MAN_LAUNCHER_TOO_OLD'],
      [{ archiveFormat: 3, critical: ['archive_format'] }, {}, 'MAN_UNKNOWN_FORMAT'],
      // To a launcher from before it, `archive_format` is such a name.
      [{ critical: ['not_known_here'] }, {}, 'MAN_CRITICAL'],
    ] as const) {
      await publisher.release({ ...files, 'base.txt': `new ${code}` }, { place, build })
      await expect(engine.update()).rejects.toMatchObject({ code })
    }
    expect([...(await installedTree(folder)).keys()]).toEqual(before)
  })
})

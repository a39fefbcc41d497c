import { createHash, randomBytes } from 'node:crypto'
import {
  appendFileSync,
  cpSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { packTree } from '../src/tree/archives.ts'
import type { PackReport } from '../src/tree/archives.ts'
import { looksOf } from '../src/tree/looks.ts'
import type { Looks } from '../src/tree/looks.ts'
import { StatCache } from '../src/tree/stat-cache.ts'
import * as copying from '../src/tree/unchanged-archive.ts'
import { HomeWorld } from './support/home-world.ts'

/** Longer than the grain of times of the file systems that tests run on. */
const GRAIN_MS = 15
/** Files that were written more than two seconds before a scan are remembered: tests set the clock ahead. */
const AHEAD_MS = 5000

let world: HomeWorld
let count = 0

beforeEach(async () => {
  world = await HomeWorld.create()
  for (const [path, text] of Object.entries({
    'data/a.txt': 'a'.repeat(3000),
    'data/b.txt': 'b'.repeat(3000),
    'data/deep/c.bin': randomBytes(70_000).toString('latin1'),
    'sound/d.ogg': 'd'.repeat(500),
    'loose.txt': 'loose',
  })) {
    mkdirSync(join(world.path('source'), path, '..'), { recursive: true })
    writeFileSync(world.path('source', path), text)
    // A time that can be set back: only the inode's own time shows that it was.
    utimesSync(world.path('source', path), 1_700_000_000, 1_700_000_000)
  }
})
afterEach(async () => {
  vi.restoreAllMocks()
  await world.remove()
})

const file = (path: string): string => world.path('source', path)
const ahead = (): number => Date.now() + AHEAD_MS

interface Packed extends PackReport {
  readonly tree: string
  /** Source files that were read by packing. */
  readonly copied: number
}

async function pack(
  previous: string | undefined,
  remember: (() => number) | 'no-cache' = ahead,
  home = 'home',
): Promise<Packed> {
  const tree = world.path(`tree-${(count += 1)}`)
  const session = await world.home(home)
  const spy = vi.spyOn(copying, 'copyUnchanged')
  const report = await packTree(session, {
    input: world.path('source'),
    output: tree,
    previous,
    remember: remember === 'no-cache' ? undefined : remember,
    level: 1,
    jobs: 1,
    signal: world.signal,
  })
  const copied = (await Promise.all(spy.mock.results.map(({ value }) => value as Promise<unknown>))).filter(Boolean)
  spy.mockRestore()
  return { ...report, tree, copied: copied.length }
}

function bytesOf(tree: string): Record<string, string> {
  const paths = readdirSync(tree, { recursive: true, encoding: 'utf8' }).filter((path) =>
    statSync(join(tree, path)).isFile(),
  )
  const hash = (path: string): string =>
    createHash('sha256')
      .update(readFileSync(join(tree, path)))
      .digest('hex')
  return Object.fromEntries(paths.toSorted().map((path) => [path, hash(path)]))
}

const cacheFile = (): string => {
  const folder = world.path('home', 'cache')
  return join(folder, readdirSync(folder)[0] as string)
}

describe('packTree() with a home that remembers', () => {
  it('copies the archives of an unchanged source, with the bytes and the report that packing gives', async () => {
    const first = await pack(undefined)
    const second = await pack(first.tree)
    expect(second.copied).toBe(2)
    const { tree, copied: _, ...report } = await pack(first.tree, 'no-cache')
    expect(second).toMatchObject(report)
    expect(bytesOf(second.tree)).toEqual(bytesOf(tree))
    expect(bytesOf(second.tree)).toEqual(bytesOf(first.tree))
  })

  it('packs an archive again when one of its files changed, and copies the others', async () => {
    const first = await pack(undefined)
    await setTimeout(GRAIN_MS)
    writeFileSync(file('sound/d.ogg'), 'e'.repeat(500))
    const second = await pack(first.tree)
    expect(second.copied).toBe(1)
    expect(bytesOf(second.tree)).toEqual(bytesOf((await pack(first.tree, 'no-cache')).tree))
    expect((await pack(second.tree)).copied).toBe(2)
  })

  it('reads every file without a clock (--no-cache), and leaves no cache', async () => {
    const first = await pack(undefined, 'no-cache')
    expect((await pack(first.tree, 'no-cache')).copied).toBe(0)
    expect(() => readdirSync(world.path('home', 'cache'))).toThrow('ENOENT')
  })

  it('remembers nothing of files that were written less than two seconds before', async () => {
    const first = await pack(undefined, Date.now)
    expect((await pack(first.tree, Date.now)).copied).toBe(0)
  })

  it('remembers nothing when the clock of the file system is ahead of that of the machine', async () => {
    const slow = (): number => Date.now() - 60_000
    const first = await pack(undefined, slow)
    expect((await pack(first.tree, slow)).copied).toBe(0)
    expect(JSON.parse(readFileSync(cacheFile(), 'utf8').slice(64))).toMatchObject({ archives: {} })
  })

  it.each<[string, (path: string) => void]>([
    [
      'the same size and mtime',
      (path) => {
        const { atime, mtime } = statSync(path)
        writeFileSync(path, 'X'.repeat(3000))
        utimesSync(path, atime, mtime)
      },
    ],
    [
      'another file moved to its name, with its size and mtime',
      (path) => {
        const { atime, mtime } = statSync(path)
        writeFileSync(`${path}.new`, 'Y'.repeat(3000))
        utimesSync(`${path}.new`, atime, mtime)
        renameSync(`${path}.new`, path)
      },
    ],
    [
      'a change by another name of it',
      (path) => {
        linkSync(path, world.path('other-name'))
        writeFileSync(world.path('other-name'), 'Z'.repeat(3000))
      },
    ],
  ])('sees %s', async (_, change) => {
    const first = await pack(undefined)
    await setTimeout(GRAIN_MS)
    change(file('data/a.txt'))
    const second = await pack(first.tree)
    expect(bytesOf(second.tree)).toEqual(bytesOf((await pack(first.tree, 'no-cache')).tree))
    expect(bytesOf(second.tree)['pack/data.m2p']).not.toBe(bytesOf(first.tree)['pack/data.m2p'])
  })

  it('does not trust a copy of the source: other inodes', async () => {
    const first = await pack(undefined)
    renameSync(world.path('source'), world.path('source-before'))
    cpSync(world.path('source-before'), world.path('source'), { recursive: true, preserveTimestamps: true })
    expect((await pack(first.tree)).copied).toBe(0)
  })

  it('takes nothing over from an archive that is not what was made then: packing finds it damaged', async () => {
    const first = await pack(undefined)
    const archive = join(first.tree, 'pack/data.m2p')
    const bytes = readFileSync(archive)
    bytes[5000] = (bytes[5000] as number) ^ 1
    writeFileSync(archive, bytes)
    const second = await pack(first.tree)
    expect(second.copied).toBe(1)
    expect(bytesOf(second.tree)['pack/data.m2p']).not.toBe(bytesOf(first.tree)['pack/data.m2p'])
    expect(second.files).toBe(4)
  })

  it('takes nothing over from an archive of other bytes that looks like the one before', async () => {
    const first = await pack(undefined)
    const archive = join(first.tree, 'pack/data.m2p')
    const { atime, mtime } = statSync(archive)
    const bytes = readFileSync(archive)
    bytes[bytes.length - 1] = (bytes.at(-1) as number) ^ 128
    writeFileSync(archive, bytes)
    utimesSync(archive, atime, mtime)
    await expect(pack(first.tree)).rejects.toMatchObject({ code: 'M2P_MANIFEST_HASH' })
  })

  it.each<[string, (text: string) => string]>([
    ['a changed digest', (text) => text.replace(/[0-9a-f]{64}"/, `${'0'.repeat(64)}"`)],
    ['a mac of zeros', (text) => '0'.repeat(64) + text.slice(64)],
    ['half of it', (text) => text.slice(0, text.length / 2)],
    ['nothing', () => ''],
    ['no text', () => '\u0000\ufffd'],
  ])('ignores a cache with %s', async (_, damage) => {
    const first = await pack(undefined)
    writeFileSync(cacheFile(), damage(readFileSync(cacheFile(), 'utf8')))
    expect((await pack(first.tree)).copied).toBe(0)
    expect((await pack(first.tree)).copied).toBe(2)
  })

  it('ignores the cache of another home', async () => {
    const first = await pack(undefined)
    const other = await HomeWorld.create()
    try {
      cpSync(world.path('home', 'cache'), other.path('home', 'cache'), { recursive: true })
      const [ours, theirs] = await Promise.all(
        [world, other].map(async (one) => await StatCache.open(await one.home(), world.path('source'), ahead())),
      )
      const planned = { root: 'data', files: ['a.txt', 'b.txt', 'deep/c.bin'] }
      const looks = looksOf(world.path('source'), planned) as Looks
      const { contentKeys, slots } = (await world.home()).description
      const made = [1, contentKeys[0]?.verifierPub, ...slots].join(' ')
      expect(ours?.find('pack/data.m2p', looks, made)?.tag).toHaveLength(32)
      expect(ours?.find('pack/data.m2p', looks, `${made} 2`)).toBeUndefined()
      expect(theirs?.find('pack/data.m2p', looks, made)).toBeUndefined()
      expect(first.files).toBe(4)
    } finally {
      await other.remove()
    }
  })
})

describe('any change', () => {
  const names = ['data/a.txt', 'data/b.txt', 'data/deep/c.bin', 'sound/d.ogg', 'data/new.txt', 'sound/new.ogg']
  const name = fc.constantFrom(...names)
  const change = fc.oneof(
    fc.record({
      kind: fc.constant('write' as const),
      path: name,
      size: fc.integer({ min: 1, max: 4000 }),
      letter: fc.integer({ min: 0, max: 25 }),
    }),
    fc.record({ kind: fc.constant('quiet' as const), path: name, letter: fc.integer({ min: 0, max: 25 }) }),
    fc.record({ kind: fc.constant('swap' as const), path: name, other: name }),
    fc.record({ kind: fc.constant('remove' as const), path: name }),
    fc.record({ kind: fc.constant('append' as const), path: name }),
    fc.record({ kind: fc.constant('cut' as const), path: name }),
    fc.record({ kind: fc.constant('touch' as const), path: name, ms: fc.integer({ min: 0, max: 2_000_000_000 }) }),
  )
  const there = (path: string): boolean => statSync(file(path), { throwIfNoEntry: false }) !== undefined

  function apply(one: typeof change extends fc.Arbitrary<infer T> ? T : never): void {
    const path = file(one.path)
    if (one.kind === 'write') return writeFileSync(path, String.fromCharCode(97 + one.letter).repeat(one.size))
    if (!there(one.path)) return
    const { atime, mtime, size } = statSync(path)
    if (one.kind === 'quiet') {
      writeFileSync(path, String.fromCharCode(65 + one.letter).repeat(size))
      utimesSync(path, atime, mtime)
    } else if (one.kind === 'swap' && there(one.other) && one.other !== one.path) {
      renameSync(path, `${path}.t`)
      renameSync(file(one.other), path)
      renameSync(`${path}.t`, file(one.other))
    } else if (one.kind === 'remove' && !['data/a.txt', 'sound/d.ogg'].includes(one.path)) rmSync(path)
    else if (one.kind === 'append') appendFileSync(path, '+')
    else if (one.kind === 'cut') truncateSync(path, size >> 1)
    else if (one.kind === 'touch') utimesSync(path, one.ms, one.ms)
  }

  it('is seen: a tree that was packed with a cache is that without one', { timeout: 300_000 }, async () => {
    let previous = (await pack(undefined)).tree
    await fc.assert(
      fc.asyncProperty(fc.array(change, { maxLength: 4 }), async (changes) => {
        await setTimeout(GRAIN_MS)
        for (const one of changes) apply(one)
        const { tree } = await pack(previous)
        expect(bytesOf(tree)).toEqual(bytesOf((await pack(previous, 'no-cache')).tree))
        previous = tree
      }),
      { numRuns: Number(process.env['KEYTURN_RUNS'] ?? 25) },
    )
  })
})

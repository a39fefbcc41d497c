import { existsSync } from 'node:fs'
import { cp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { formatTime } from '@keyturn/manifest/publish'
import { nodeFileSystem } from '@keyturn/primitives/node'
import type { FileSystem } from '@keyturn/primitives/node'
import { faultFileSystem } from '@keyturn/primitives/testing'
import { describe, expect, it } from 'vitest'
import type { EngineOptions } from '../src/index.ts'
import { patienceMs } from './support/campaign.ts'
import { engineFor, expectedText, temporaryFolder, treeFetch, treeText } from './support/install.ts'
import type { Served } from './support/install.ts'
import { contentKey, DAY, noise, NOW, Publisher, sha256Hex } from './support/publisher.ts'
import type { MadeRelease, TestFiles } from './support/publisher.ts'

const AT = formatTime(NOW + DAY)
const [KEY_1, KEY_2] = [contentKey(1), contentKey(2)]

const m2pack = (...keys: readonly ReturnType<typeof contentKey>[]) => ({
  contentKeys: keys.map(({ entry }, index) => ({
    ...entry,
    status: index === keys.length - 1 ? ('active' as const) : ('retired' as const),
  })),
})

/** A release whose archives are under a content key, with the key file. */
function files(key: ReturnType<typeof contentKey>, seed: number): TestFiles {
  return {
    'pack/a.m2p': { bytes: noise(700_000, 1), keyId: key.entry.keyId },
    'pack/b.m2p': { bytes: noise(900_000, seed), keyId: key.entry.keyId },
    'edition.txt': `edition ${seed}`,
    'runtime-key.json': key.json,
  }
}

/** One release installed, a second scheduled; its key file is on no server. */
async function studio(options: Partial<EngineOptions> = {}) {
  const publisher = await Publisher.create()
  const first = await publisher.release(files(KEY_1, 10), { format: 'm2pack', place: m2pack(KEY_1) })
  const served: Served[] = []
  const made = await engineFor(publisher, { fetch: treeFetch(publisher.tree, served), ...options })
  await made.engine.update()
  const next = await publisher.release(files(KEY_2, 20), {
    format: 'm2pack',
    place: { sequence: 1001, ...m2pack(KEY_1, KEY_2) },
  })
  const key = `files/${sha256Hex(KEY_2.json).slice(0, 2)}/${sha256Hex(KEY_2.json)}`
  publisher.tree.delete(key)
  const schedule = async (of: MadeRelease = next, at = AT, offered = first): Promise<void> =>
    await publisher.head(offered, { head: (head) => ({ ...head, preload: { ...of.pin, at } }) })
  await schedule()
  await made.engine.update()
  served.length = 0
  return {
    ...made,
    publisher,
    first,
    next,
    served,
    schedule,
    /** The publisher opens it: the key is there, and the head offers it. */
    open: async (of: MadeRelease = next) => {
      publisher.tree.set(key, KEY_2.json)
      await publisher.head(of)
    },
    staged: async () => await readdir(join(made.folder, '.updates/staging')),
    trees: { old: expectedText(first.files, sha256Hex), new: expectedText(next.files, sha256Hex) },
  }
}

/** What the system does when a process dies: its locks are free again. */
async function dead(folder: string): Promise<void> {
  for (const name of ['lock', 'staging.lock']) await rm(join(folder, '.updates', name), { force: true })
}

const bytesOf = (served: readonly Served[]): number => served.reduce((sum, { bytes }) => sum + bytes, 0)

describe('a release that is fetched ahead', () => {
  it('is staged and not put in place; what opens it is a few bytes and no file is read again', async () => {
    const { engine, folder, served, staged, open, trees, next } = await studio()
    expect((await engine.status()).next).toBeUndefined()
    expect(await engine.preload()).toMatchObject({ outcome: 'ready', version: next.model.version, at: AT })
    expect(await treeText(folder)).toBe(trees.old)
    expect((await staged()).toSorted()).toEqual(
      ['pack/b.m2p', 'edition.txt'].map((path) => sha256Hex(next.files.get(path) ?? new Uint8Array())).toSorted(),
    )
    expect(served.some(({ path }) => path.endsWith(sha256Hex(KEY_2.json)))).toBe(false)
    expect((await engine.status()).next).toEqual({ version: next.model.version, at: AT, state: 'ready' })
    await open()
    served.length = 0
    expect(await engine.update()).toMatchObject({ outcome: 'updated', version: next.model.version })
    expect(await treeText(folder)).toBe(trees.new)
    expect(served.flatMap(({ path, bytes }) => (bytes === 0 ? [] : [path])).toSorted()).toEqual([
      'channels/stable/head.json',
      `channels/stable/manifests/${next.model.version}.sigs.json`,
      `files/${sha256Hex(KEY_2.json).slice(0, 2)}/${sha256Hex(KEY_2.json)}`,
      expect.stringMatching(/^kel\//),
    ])
    expect(bytesOf(served)).toBeLessThan(4096)
    expect((await engine.status()).next).toBeUndefined()
    await engine.preload()
    expect(existsSync(join(folder, '.updates/preload'))).toBe(false)
  })

  it('is never installed by a clock, however far ahead: only a head offers it (row 342)', async () => {
    let nowMs = NOW
    const { engine, folder, trees, schedule } = await studio({ clock: () => nowMs })
    await engine.preload()
    nowMs = NOW + 3 * DAY
    await schedule() // signed long ago, still valid
    expect((await engine.update()).outcome).toBe('up-to-date')
    expect(await treeText(folder)).toBe(trees.old)
  })

  it('costs nothing when it is moved, and nothing is left of it when it is cancelled', async () => {
    const { engine, folder, first, publisher, schedule, served, staged, trees } = await studio()
    await engine.preload()
    await schedule(undefined, formatTime(NOW + 2 * DAY))
    await engine.update()
    served.length = 0
    expect(await engine.preload()).toMatchObject({ outcome: 'ready', at: formatTime(NOW + 2 * DAY) })
    expect(served).toEqual([])
    await publisher.head(first)
    await engine.update()
    expect(await engine.preload()).toMatchObject({ outcome: 'none' })
    expect(await staged()).toEqual([])
    expect(existsSync(join(folder, '.updates/preload'))).toBe(false)
    expect(await treeText(folder)).toBe(trees.old)
  })

  it('keeps what another schedule needs too, and drops the rest', async () => {
    const { engine, next, publisher, schedule, served, staged } = await studio()
    await engine.preload()
    const other = await publisher.release(
      { ...files(KEY_2, 20), 'edition.txt': 'another edition' },
      { format: 'm2pack', place: { sequence: 1002, ...m2pack(KEY_1, KEY_2) } },
    )
    await schedule(other)
    await engine.update()
    served.length = 0
    expect(await engine.preload()).toMatchObject({ outcome: 'ready', version: other.model.version })
    expect(served.filter(({ path }) => path.startsWith('files/')).length).toBe(1)
    expect(await staged()).not.toContain(sha256Hex(next.files.get('edition.txt') ?? new Uint8Array()))
  })

  it('stays through a hotfix, and a halt, and is still the difference to what is installed then', async () => {
    const { engine, folder, next, publisher, schedule, served, open, trees } = await studio()
    await engine.preload()
    const hotfix = await publisher.release(files(KEY_1, 30), {
      format: 'm2pack',
      place: { sequence: 2, ...m2pack(KEY_1) },
    })
    await schedule(next, AT, hotfix)
    expect(await engine.update()).toMatchObject({ outcome: 'updated', version: hotfix.model.version })
    served.length = 0
    expect(await engine.preload()).toMatchObject({ outcome: 'ready' })
    expect(served.filter(({ path }) => path.startsWith('files/'))).toEqual([])
    await open()
    expect(await engine.update()).toMatchObject({ outcome: 'updated', version: next.model.version })
    expect(await treeText(folder)).toBe(trees.new)
  })

  it('is put in place by a player who was offline at the time, from what was staged long before', async () => {
    const { engine, folder, open, served, trees } = await studio()
    await engine.preload()
    await open()
    const later = await engine.launch({ update: false, stdio: ['ignore', 'ignore', 'ignore'] }).catch(() => undefined)
    expect(later?.version).not.toBe('1001')
    served.length = 0
    await engine.update()
    expect(await treeText(folder)).toBe(trees.new)
    expect(bytesOf(served)).toBeLessThan(4096)
  })

  it('is left out when the disk has no room for it, with a word, and comes when it is offered (row 343)', async () => {
    let free = 1n << 40n
    const fs: FileSystem = {
      ...nodeFileSystem,
      statfs: (async (path: string) => ({
        ...(await nodeFileSystem.statfs(path)),
        bavail: Number(free / 4096n),
        bsize: 4096,
      })) as unknown as FileSystem['statfs'],
    }
    const { engine, events, staged, open, folder, trees, next } = await studio({ fs })
    free = 1_000_000n
    expect(await engine.preload()).toMatchObject({ outcome: 'no-space' })
    expect(events.some((event) => event.type === 'notice' && event.code === 'LA_PRELOAD_SPACE')).toBe(true)
    expect(await staged()).toEqual([])
    expect((await engine.status()).next).toEqual({ version: next.model.version, at: AT, state: 'full' })
    free = 1n << 40n
    await open()
    await engine.update()
    expect(await treeText(folder)).toBe(trees.new)
  })

  it('is asked about before anything is downloaded', async () => {
    const { engine, served, staged } = await studio()
    const asked: number[] = []
    const result = await engine.preload({
      mayDownload: ({ downloadBytes }) => {
        asked.push(downloadBytes)
        return false
      },
    })
    expect(result.outcome).toBe('later')
    expect(asked).toEqual([900_000 + 'edition 20'.length])
    // Lists of pieces came, to know what it would cost.
    expect(served.filter(({ path, bytes }) => path.startsWith('files/') && bytes > 1000)).toEqual([])
    expect(await staged()).toEqual([])
  })

  it('gives way to a repair, and to an update, and goes on from where it was', async () => {
    const publisherHolds = await studio()
    const { publisher, next, served, trees, folder } = publisherHolds
    const held = sha256Hex(next.files.get('pack/b.m2p') ?? new Uint8Array())
    let waiting = 0
    let isHeld = true
    const plain = treeFetch(publisher.tree, served)
    const { engine } = await engineFor(publisher, {
      folder,
      fetch: async (url, init) => {
        if (isHeld && url.endsWith(held)) {
          waiting += 1
          await new Promise<void>((_resolve, reject) =>
            init.signal?.addEventListener('abort', () => reject(init.signal?.reason as Error), { once: true }),
          )
        }
        return await plain(url, init)
      },
    })
    for (const other of ['repair', 'update'] as const) {
      waiting = 0
      const ahead = engine.preload()
      while (waiting === 0) await new Promise((resolve) => setTimeout(resolve, 5))
      await engine[other]()
      expect((await ahead).outcome).toBe('later')
    }
    expect(await treeText(folder)).toBe(trees.old)
    isHeld = false
    expect((await engine.preload()).outcome).toBe('ready')
  })

  it('believes no staged file that was written to (row 344)', async () => {
    const { engine, folder, next, open, served, trees } = await studio()
    await engine.preload()
    const staged = join(folder, '.updates/staging', sha256Hex(next.files.get('pack/b.m2p') ?? new Uint8Array()))
    const bytes = await readFile(staged)
    bytes[5] = (bytes[5] ?? 0) ^ 1
    await writeFile(staged, bytes)
    await open()
    served.length = 0
    await engine.update()
    expect(await treeText(folder)).toBe(trees.new)
    expect(served.some(({ path }) => path.includes(sha256Hex(next.files.get('pack/b.m2p') ?? new Uint8Array())))).toBe(
      true,
    )
  })

  it('is refused when its manifest is not the one that the head pins, or not signed by the release key', async () => {
    const { engine, publisher, next, staged } = await studio()
    const path = `channels/stable/manifests/${next.model.version}`
    const signatures = publisher.tree.get(`${path}.sigs.json`)
    await publisher.resign(next, ['head 1'])
    await expect(engine.preload()).rejects.toMatchObject({ code: 'MAN_KEY_UNKNOWN' })
    publisher.tree.set(`${path}.sigs.json`, signatures ?? new Uint8Array())
    const manifest = publisher.tree.get(`${path}.json`) ?? new Uint8Array()
    publisher.tree.set(`${path}.json`, manifest.slice(0, -1))
    expect(await engine.preload()).toMatchObject({ outcome: 'none' })
    expect(await staged()).toEqual([])
  })

  it(
    'is whole or not there after a kill at any call of fetching, opening or dropping it (row 341)',
    async () => {
      const step = Number(process.env['KEYTURN_PRELOAD_CRASH_STEP'] ?? '7')
      const stage = await studio()
      const { publisher, folder: start, first, schedule, open, trees } = stage
      await dead(start)
      /** Kills one operation at its n-th call, then lets a new launcher go on. */
      const killed = async (
        from: string,
        work: 'preload' | 'update',
        at: number,
      ): Promise<{ folder: string; fired: boolean }> => {
        const folder = await temporaryFolder('fast')
        await cp(from, folder, { recursive: true, preserveTimestamps: true })
        const fs = faultFileSystem({ plan: { at, mode: 'crash' } })
        const { engine } = await engineFor(publisher, { folder, fs, logFile: false })
        await engine[work]().catch(() => undefined)
        await dead(folder)
        return { folder, fired: fs.fired }
      }
      const after = async (folder: string) => (await engineFor(publisher, { folder, logFile: false })).engine
      for (let at = 0; ; at += step) {
        const { folder, fired } = await killed(start, 'preload', at)
        expect(await treeText(folder), `fetching, call ${at}`).toBe(trees.old)
        expect((await (await after(folder)).preload()).outcome, `fetching, call ${at}`).toBe('ready')
        expect(await treeText(folder), `fetching, call ${at}`).toBe(trees.old)
        await rm(folder, { recursive: true })
        if (!fired) break
      }
      const ready = await temporaryFolder('fast')
      await cp(start, ready, { recursive: true, preserveTimestamps: true })
      await (await after(ready)).preload()
      await dead(ready)
      await open()
      for (let at = 0; ; at += step) {
        const { folder, fired } = await killed(ready, 'update', at)
        await (await after(folder)).update()
        expect(await treeText(folder), `opening, call ${at}`).toBe(trees.new)
        await rm(folder, { recursive: true })
        if (!fired) break
      }
      await publisher.head(first)
      const cancelled = await temporaryFolder('fast')
      await cp(ready, cancelled, { recursive: true, preserveTimestamps: true })
      await (await after(cancelled)).update()
      await dead(cancelled)
      for (let at = 0; ; at += step) {
        const { folder, fired } = await killed(cancelled, 'preload', at)
        expect((await (await after(folder)).preload()).outcome, `dropping, call ${at}`).toBe('none')
        expect(await readdir(join(folder, '.updates/staging')), `dropping, call ${at}`).toEqual([])
        expect(existsSync(join(folder, '.updates/preload')), `dropping, call ${at}`).toBe(false)
        await rm(folder, { recursive: true })
        if (!fired) break
      }
      await schedule()
    },
    patienceMs,
  )

  it('survives the loss of anything it keeps beside the install', async () => {
    for (const lost of ['release.json', 'staged.bin', 'manifest.json']) {
      const { engine, folder, open, trees } = await studio()
      await engine.preload()
      await rm(join(folder, '.updates/preload', lost))
      expect((await engine.preload()).outcome).toBe('ready')
      await rm(join(folder, '.updates/preload', lost))
      await open()
      await engine.update()
      expect(await treeText(folder), lost).toBe(trees.new)
    }
  })
})

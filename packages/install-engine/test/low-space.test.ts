import { cp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { nodeFileSystem } from '@keyturn/primitives/node'
import { faultFileSystem } from '@keyturn/primitives/testing'
import type { FileSystem } from '@keyturn/primitives/node'
import { describe, expect, it } from 'vitest'
import type { EngineOptions } from '../src/index.ts'
import { patienceMs } from './support/campaign.ts'
import { engineFor, expectedText, installedTree, offline, temporaryFolder, treeText } from './support/install.ts'
import { keyId, noise, Publisher, sha256Hex } from './support/publisher.ts'

const everyNth = Number(process.env['KEYTURN_CRASH_STEP'] ?? '11')
const reserve = 16 * 1024 * 1024
const size = 300_000
const pack = (seed: number): Uint8Array => noise(size, seed)
const before = {
  'a.bin': pack(1),
  'b.bin': pack(2),
  'c.bin': pack(3),
  'd/e.bin': pack(4),
  'gone.bin': pack(5),
  'moves.bin': pack(6),
  'same.txt': 'same',
}
const after = {
  'a.bin': pack(11),
  'b.bin': pack(12),
  'c.bin': pack(13),
  'd/e.bin': pack(14),
  'moved/here.bin': pack(6),
  'new.bin': pack(15),
  'same.txt': 'same',
}

async function usedBytes(folder: string): Promise<number> {
  let used = 0
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isFile())
      used += await stat(join(entry.parentPath, entry.name)).then(
        (stats) => stats.size,
        () => 0,
      )
  }
  return used
}

/** A volume of that many bytes, which remembers how full it was. */
function volume(folder: string, bytes: number): { fs: FileSystem; fullest: () => number } {
  let fullest = 0
  const fs: FileSystem = {
    ...nodeFileSystem,
    statfs: (async () => ({
      bavail: Math.max(0, bytes - (await usedBytes(folder))),
      bsize: 1,
    })) as unknown as FileSystem['statfs'],
    rename: async (from, to) => {
      fullest = Math.max(fullest, await usedBytes(folder))
      await nodeFileSystem.rename(from, to)
    },
  }
  return { fs, fullest: () => fullest }
}

async function scene() {
  const publisher = await Publisher.create()
  const old = await publisher.release(before, { index: false })
  const start = await temporaryFolder('fast')
  await (await engineFor(publisher, { folder: start, logFile: false })).engine.update()
  const made = await publisher.release(after, { index: false })
  // Room for what is there, the two that are new, and half a file: far less than the six that change.
  const bytes = (await usedBytes(start)) + reserve + size * 2.5
  const on = async (folder: string, options: Partial<EngineOptions> = {}) =>
    await engineFor(publisher, { folder, logFile: false, lockPatienceMs: 0, ...options })
  return {
    publisher,
    start,
    bytes,
    on,
    old,
    made,
    from: expectedText(old.files, sha256Hex),
    to: expectedText(made.files, sha256Hex),
  }
}

describe('a disk without room for old and new together', () => {
  it('is refused before the first change, saying how much is missing and how else it could go (rows 209, 210)', async () => {
    const { start, bytes, on, from } = await scene()
    const { engine } = await on(start, { fs: volume(start, bytes).fs })
    const error = await engine.update().then(
      () => undefined,
      (thrown: { code: string; hint: string; details: Record<string, number> }) => thrown,
    )
    expect(error).toMatchObject({
      code: 'LA_DISK_FULL',
      details: { missing: expect.any(Number) as number },
      hint: expect.stringContaining('--low-space') as string,
    })
    expect(error?.details['needed']).toBe((error?.details['free'] ?? 0) + (error?.details['missing'] ?? 0))
    expect(await treeText(start)).toBe(from)
  })

  it('takes the update file by file where that is allowed, and is never fuller than it can be', async () => {
    const { start, bytes, on, to } = await scene()
    const disk = volume(start, bytes)
    const { engine, events } = await on(start, { fs: disk.fs, lowSpace: true })
    expect(await engine.update()).toMatchObject({ outcome: 'updated', version: '2026.11.21-2', writtenFiles: 6 })
    expect(await treeText(start)).toBe(to)
    expect(disk.fullest()).toBeLessThanOrEqual(bytes - reserve + 200_000)
    expect(events.some((event) => event.type === 'notice' && event.code === 'LA_UNFINISHED')).toBe(true)
    expect(await engine.status()).toMatchObject({ unfinished: undefined, canRollBack: false })
    expect(await engine.update()).toMatchObject({ outcome: 'up-to-date' })
    expect(await readdir(join(start, '.updates/backup'))).toEqual([])
  })

  it('says so when not even the next file fits', async () => {
    const { start, bytes, on, from } = await scene()
    const { engine } = await on(start, { fs: volume(start, bytes - size * 2).fs, lowSpace: true })
    await expect(engine.update()).rejects.toMatchObject({ code: 'LA_DISK_FULL' })
    expect(await treeText(start)).toBe(from)
  })

  it(
    'killed at any call: every file is old or new, a mixture cannot be played, and the next update finishes it (row 205)',
    async () => {
      const { start, bytes, on, old, made, from, to } = await scene()
      let mixtures = 0
      let points = 0
      for (let at = 0; ; at += everyNth) {
        const folder = await temporaryFolder('fast')
        await cp(start, folder, { recursive: true, preserveTimestamps: true })
        const fs = faultFileSystem({ plan: { at, mode: 'crash' }, fs: volume(folder, bytes).fs })
        await (await on(folder, { fs, lowSpace: true })).engine.update().catch(() => undefined)
        if (!fs.fired) break
        points += 1
        for (const name of ['lock', 'staging.lock']) await rm(join(folder, '.updates', name), { force: true })
        const away = await on(folder, { fetch: offline })
        await expect(away.engine.update()).rejects.toBeDefined()
        const tree = await treeText(folder)
        const { partial } = JSON.parse(await readFile(join(folder, '.updates/state.json'), 'utf8')) as {
          partial?: { version: string }
        }
        if (tree !== from && tree !== to) {
          mixtures += 1
          expect(partial?.version, `call ${at}`).toBe('2026.11.21-2')
          for (const [path, found] of await installedTree(folder)) {
            expect(
              [old.files.get(path), made.files.get(path)].some(
                (bytes) => bytes !== undefined && sha256Hex(bytes) === sha256Hex(found),
              ),
              `call ${at}: ${path}`,
            ).toBe(true)
          }
        }
        if (partial !== undefined) {
          for (const operation of [() => away.engine.launch(), () => away.engine.repair()])
            await expect(operation(), `call ${at}`).rejects.toMatchObject({ code: 'LA_UNFINISHED', kind: 'policy' })
        }
        await (await on(folder, { fs: volume(folder, bytes).fs, lowSpace: true })).engine.update()
        expect(await treeText(folder), `call ${at}`).toBe(to)
        await rm(folder, { recursive: true })
      }
      console.info(`low space: ${points} crash points, ${mixtures} of them in the middle`)
      expect(mixtures).toBeGreaterThan(0)
    },
    patienceMs,
  )

  it('copies what moves from its old place rather than fetching it again', async () => {
    const { start, bytes, on, to } = await scene()
    const { engine, served } = await on(start, { fs: volume(start, bytes).fs, lowSpace: true })
    await engine.update()
    expect(await treeText(start)).toBe(to)
    expect(served.filter(({ path }) => path.endsWith(sha256Hex(pack(6))))).toEqual([])
  })

  it('is brought to its end though the rollout was halted meanwhile, or the head expired; not when the release was withdrawn', async () => {
    const { publisher, start, bytes, on, old, made, to } = await scene()
    let swapped = 0
    const disk = volume(start, bytes).fs
    const dies: FileSystem = {
      ...disk,
      rename: async (from, to) => {
        if (String(from).includes('/staging/') && swapped++ === 3)
          throw Object.assign(new Error('EIO'), { code: 'EIO' })
        await disk.rename(from, to)
      },
    }
    await expect((await on(start, { fs: dies, lowSpace: true })).engine.update()).rejects.toMatchObject({
      code: 'LA_IO',
    })
    const copy = async (): Promise<string> => {
      const folder = await temporaryFolder('fast')
      await cp(start, folder, { recursive: true, preserveTimestamps: true })
      return folder
    }
    const [halted, late, withdrawn] = [await copy(), await copy(), await copy()]
    await publisher.head(made, {
      head: (head) => ({
        ...head,
        fallback: old.pin,
        rollout: { percent: 0, salt: '0123456789abcdef'.repeat(2), paused: true },
      }),
    })
    expect(await (await on(halted, { lowSpace: true })).engine.update()).toMatchObject({
      outcome: 'updated',
      version: '2026.11.21-2',
    })
    expect(await treeText(halted)).toBe(to)
    const expired = await on(late, { lowSpace: true, clock: () => publisher.nowMs + 30 * 24 * 3_600_000 })
    expect(await expired.engine.update()).toMatchObject({ outcome: 'updated' })
    expect(await treeText(late)).toBe(to)
    await publisher.rotate((roles) => ({
      roles: { ...roles.roles, release: { keys: [keyId('release 2')], threshold: 1 } },
      revokedKeys: [keyId('release 1')],
    }))
    await publisher.head(made)
    await expect((await on(withdrawn, { lowSpace: true })).engine.update()).rejects.toMatchObject({
      code: 'MAN_KEY_RETIRED',
    })
    expect(await treeText(withdrawn)).not.toBe(to)
  })

  it('with room again the rest comes at once, and a release after it takes away what only the unfinished one had', async () => {
    const { publisher, start, bytes, on } = await scene()
    let swapped = 0
    const disk = volume(start, bytes).fs
    const dies: FileSystem = {
      ...disk,
      rename: async (from, to) => {
        if (String(from).includes('/staging/') && swapped++ === 5)
          throw Object.assign(new Error('EIO'), { code: 'EIO' })
        await disk.rename(from, to)
      },
    }
    const broken = await on(start, { fs: dies, lowSpace: true })
    await expect(broken.engine.update()).rejects.toMatchObject({ code: 'LA_IO' })
    expect(await broken.engine.status()).toMatchObject({ version: '2026.11.21-1', unfinished: '2026.11.21-2' })
    const { 'new.bin': _gone, ...rest } = after
    const third = await publisher.release({ ...rest, 'third.txt': '3' }, { index: false })
    const { engine } = await on(start)
    expect(await engine.update()).toMatchObject({ outcome: 'updated', version: '2026.11.21-3' })
    expect(await treeText(start)).toBe(expectedText(third.files, sha256Hex))
    expect(await engine.status()).toMatchObject({ unfinished: undefined, canRollBack: false })
  })
})

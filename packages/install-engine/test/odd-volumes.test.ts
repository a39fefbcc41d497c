import { execFileSync } from 'node:child_process'
import { chmod, mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { nodeFileSystem } from '@keyturn/primitives/node'
import type { FileHandle, FileSystem } from '@keyturn/primitives/node'
import { describe, expect, it } from 'vitest'
import { createEngine } from '../src/index.ts'
import { foldingMount } from './support/folding-mount.ts'
import { engineFor, expectedText, temporaryFolder, treeText } from './support/install.ts'
import { noise, Publisher, sha256Hex } from './support/publisher.ts'

const files = { 'a.txt': 'a', 'b/run': { bytes: noise(3000, 1), executable: true }, 'b/big': noise(400_000, 2) }

/** A disk whose files have the one mode that it was mounted with: chmod is refused, or does nothing. */
function withoutModes(how: 'EPERM' | 'ENOTSUP' | 'silently'): FileSystem {
  const refuse = async (): Promise<void> => {
    if (how !== 'silently') throw Object.assign(new Error(how), { code: how, syscall: 'fchmod' })
  }
  const wrap = (handle: FileHandle): FileHandle =>
    new Proxy(handle, {
      get(target, key) {
        if (key === 'chmod') return refuse
        const real: unknown = Reflect.get(target, key)
        return typeof real === 'function' ? real.bind(target) : real
      },
    })
  const open = async (path: string, flags?: string | number): Promise<FileHandle> =>
    wrap(await nodeFileSystem.open(path, flags, 0o666))
  return { ...nodeFileSystem, chmod: refuse, open: open as FileSystem['open'] }
}

describe('a file system that keeps no modes', () => {
  for (const how of ['EPERM', 'ENOTSUP', 'silently'] as const) {
    it(`and refuses to change them ${how}: installs, updates, repairs, and finds nothing to change (row 307)`, async () => {
      const publisher = await Publisher.create()
      await publisher.release(files)
      const { engine, folder } = await engineFor(publisher, { fs: withoutModes(how) })
      expect(await engine.update()).toMatchObject({ outcome: 'updated' })
      expect(await engine.repair()).toMatchObject({ outcome: 'up-to-date', writtenFiles: 0 })
      const { files: next } = await publisher.release({ ...files, 'a.txt': 'b' })
      expect(await engine.update()).toMatchObject({ outcome: 'updated', writtenFiles: 1 })
      expect(await treeText(folder)).toBe(expectedText(next, sha256Hex))
    })
  }

  it('of another user, where this one may write: installs and repairs on a real volume (row 307)', async ({
    skip,
    onTestFinished,
  }) => {
    const mount = await foldingMount()
    if ('reason' in mount) {
      console.log(`no such volume here: ${mount.reason}`)
      return skip(mount.reason)
    }
    onTestFinished(mount.unmount)
    const publisher = await Publisher.create()
    const { files: made } = await publisher.release(files)
    const folder = await mount.folder()
    await chmod(dirname(dirname(folder)), 0o755)
    expect((await stat(folder)).uid).toBe(0)
    const { seteuid, geteuid, getuid } = process
    const me = geteuid?.call(process) ?? 0
    seteuid?.call(process, 65534)
    const real = getuid
    process.getuid = () => 65534
    try {
      const { engine } = await engineFor(publisher, { folder, logFile: false })
      await engine.update()
      expect(await engine.repair()).toMatchObject({ outcome: 'up-to-date' })
      expect(await treeText(folder)).toBe(expectedText(made, sha256Hex))
    } finally {
      seteuid?.call(process, me)
      Object.assign(process, { getuid: real })
    }
  })
})

it('a volume that reports no sizes is not taken for a full one (row 308)', async () => {
  const publisher = await Publisher.create()
  await publisher.release(files)
  const nothing = { type: 0, bsize: 0, blocks: 0, bfree: 0, bavail: 0, files: 0, ffree: 0 }
  const fs: FileSystem = { ...nodeFileSystem, statfs: (async () => nothing) as unknown as FileSystem['statfs'] }
  const { engine } = await engineFor(publisher, { fs })
  expect(await engine.update()).toMatchObject({ outcome: 'updated' })
})

/** An update that a virus scanner spoils names it, and goes through once the scanner lets it. */
async function isNamedAndOver(publisher: Publisher, folder: string, scanned: FileSystem): Promise<void> {
  const run = await engineFor(publisher, { folder, fs: scanned })
  await expect(run.engine.update()).rejects.toMatchObject({
    code: 'LA_STAGE_TAMPERED',
    hint: expect.stringContaining('virus scanner'),
  })
  const again = await engineFor(publisher, { folder })
  expect(await again.engine.update()).toMatchObject({ outcome: 'updated' })
}

describe('a virus scanner', () => {
  it('that removes a staged file is named as a likely cause, and the next update goes through (row 400)', async () => {
    const publisher = await Publisher.create()
    await publisher.release(files)
    const { engine, folder } = await engineFor(publisher)
    await engine.update()
    const { files: next } = await publisher.release({ ...files, 'b/big': noise(400_000, 9) })
    const scanned: FileSystem = {
      ...nodeFileSystem,
      rename: async (from, to) => {
        await nodeFileSystem.rename(from, to)
        if (String(to).endsWith('txn.json')) await rm(join(folder, '.updates/staging', sha256Hex(noise(400_000, 9))))
      },
    }
    await isNamedAndOver(publisher, folder, scanned)
    expect(await treeText(folder)).toBe(expectedText(next, sha256Hex))
  })

  it('that removes each download at once is named too, and no server is blamed for it (row 400)', async () => {
    const publisher = await Publisher.create()
    await publisher.release(files)
    const { engine, folder } = await engineFor(publisher)
    await engine.update()
    const wanted = sha256Hex(noise(400_000, 9))
    await publisher.release({ ...files, 'b/big': noise(400_000, 9) })
    const scanned: FileSystem = {
      ...nodeFileSystem,
      rename: async (from, to) => {
        await nodeFileSystem.rename(from, to)
        if (String(to).endsWith(wanted)) await rm(String(to))
      },
    }
    await isNamedAndOver(publisher, folder, scanned)
  })
})

describe.skipIf(process.getuid?.() !== 0)('an install of another account of this machine', () => {
  it('is refused in words where it may not be read, never as a bug (row 311)', async () => {
    const publisher = await Publisher.create()
    await publisher.release(files)
    const { engine, folder } = await engineFor(publisher)
    await engine.update()
    await chmod(folder, 0o755)
    const other = ['--input-type=module', '-e', otherAccount(folder, publisher.trust)]
    const said = execFileSync(process.execPath, other, { encoding: 'utf8', cwd: join(import.meta.dirname, '..') })
    expect(JSON.parse(said)).toEqual({ update: 'LA_PERMISSION', status: 'LA_PERMISSION', launch: 'LA_PERMISSION' })
    expect(await readFile(join(folder, 'a.txt'), 'utf8')).toBe('a')
  })
})

/** Runs the built engine as another user. */
function otherAccount(folder: string, trust: string): string {
  return `
    import { createEngine, settingsFor } from '@keyturn/install-engine'
    process.setuid(65534)
    const engine = createEngine({ folder: ${JSON.stringify(folder)}, server: 'http://127.0.0.1:9/', trust: ${JSON.stringify(trust)}, logFile: false, retry: { tries: 1 } })
    const code = async (run) => await run().then(() => 'done', (error) => error.code)
    const update = await code(() => engine.update())
    const status = await code(() => settingsFor({ folder: ${JSON.stringify(folder)} }))
    const launch = await code(() => engine.launch())
    console.log(JSON.stringify({ update, status, launch }))`
}

it('createEngine() makes the folder only when it is used', async () => {
  const folder = join(await temporaryFolder(), 'later')
  createEngine({ folder, server: 'http://127.0.0.1:9/', trust: `key:${'ab'.repeat(32)}` })
  await mkdir(folder, { recursive: true })
  expect((await stat(folder)).isDirectory()).toBe(true)
})

it('a volume that numbers its files differently from time to time is not taken for a thief (row 201)', async () => {
  const publisher = await Publisher.create()
  const { files } = await publisher.release({ 'a.txt': 'one', 'b/c.txt': 'two' })
  const lstat = async (path: string, options?: object): Promise<unknown> => {
    const stats = await nodeFileSystem.lstat(path, options as undefined)
    // What a handle says is the number as it was; so FUSE does, once it has forgotten a file.
    return Object.assign(stats, { ino: typeof stats.ino === 'bigint' ? stats.ino + 1n : stats.ino + 1 })
  }
  const fs = { ...nodeFileSystem, lstat } as unknown as FileSystem
  const { engine, folder } = await engineFor(publisher, { fs })
  expect((await engine.update()).outcome).toBe('updated')
  expect(await treeText(folder)).toBe(expectedText(files, sha256Hex))
})

/** Times of files in steps of two seconds, as on FAT; `ctime` is that of the last write too. */
function inTwoSeconds(): FileSystem {
  const STEP_NS = 2_000_000_000n
  const round = <T extends object>(stats: T): T => {
    const { mtimeNs } = stats as { mtimeNs?: bigint }
    if (mtimeNs === undefined) return stats
    const coarse = mtimeNs - (mtimeNs % STEP_NS)
    return Object.assign(stats, { mtimeNs: coarse, ctimeNs: coarse })
  }
  const lstat = async (path: string, options?: object): Promise<unknown> =>
    round(await nodeFileSystem.lstat(path, options as undefined))
  const open = async (path: string, flags?: string | number, mode?: number): Promise<FileHandle> => {
    const handle = await nodeFileSystem.open(path, flags, mode)
    return new Proxy(handle, {
      get(target, key) {
        if (key === 'stat') return async (options?: object) => round(await target.stat(options as undefined))
        const real: unknown = Reflect.get(target, key)
        return typeof real === 'function' ? real.bind(target) : real
      },
    })
  }
  return { ...nodeFileSystem, lstat, open } as unknown as FileSystem
}

it('a volume with times in steps of two seconds installs, updates and finds what changed (row 416)', async () => {
  const publisher = await Publisher.create()
  await publisher.release(files)
  const fs = inTwoSeconds()
  const { engine, folder } = await engineFor(publisher, { fs })
  expect(await engine.update()).toMatchObject({ outcome: 'updated' })
  expect(await engine.repair()).toMatchObject({ outcome: 'up-to-date', downloadedBytes: 0 })
  const { files: next } = await publisher.release({ ...files, 'b/big': noise(400_000, 7), 'a.txt': 'c' })
  expect(await engine.update()).toMatchObject({ outcome: 'updated', writtenFiles: 2 })
  // As long as before, and within the same two seconds.
  await writeFile(join(folder, 'a.txt'), 'x')
  expect(await engine.repair()).toMatchObject({ outcome: 'repaired', writtenFiles: 1 })
  expect(await treeText(folder)).toBe(expectedText(next, sha256Hex))
  await engine.rollback()
  expect(await readFile(join(folder, 'a.txt'), 'utf8')).toBe('a')
})

import { execFileSync, spawn } from 'node:child_process'
import { chmod, cp, lstat, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { constants, existsSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { manifestPin, signManifest } from '@keyturn/manifest/publish'
import { nodeFileSystem } from '@keyturn/primitives/node'
import { faultFileSystem } from '@keyturn/primitives/testing'
import type { FileHandle, FileSystem } from '@keyturn/primitives/node'
import type { FaultPlan, RecordedOperation } from '@keyturn/primitives/testing'
import { describe, expect, it } from 'vitest'
import { patienceMs } from './support/campaign.ts'
import { engineFor, expectedText, temporaryFolder, treeText } from './support/install.ts'
import { noise, Publisher, sha256Hex, signerOf } from './support/publisher.ts'
import type { MadeRelease } from './support/publisher.ts'

const everyNth = Number(process.env['KEYTURN_FAULT_STEP'] ?? '17')
const first = { 'a.txt': 'one', 'pack/a.bin': noise(900_000, 3), 'old.txt': 'old' }
const second = { 'a.txt': 'two', 'pack/a.bin': noise(900_000, 5), 'new/b.txt': 'b' }

async function installed() {
  const publisher = await Publisher.create()
  const old = await publisher.release(first)
  const test = await engineFor(publisher, { logFile: false })
  await test.engine.update()
  const made = await publisher.release(second)
  return { publisher, ...test, from: expectedText(old.files, sha256Hex), to: expectedText(made.files, sha256Hex) }
}

async function updateOn(publisher: Publisher, folder: string, fs: FileSystem): Promise<string> {
  const { engine } = await engineFor(publisher, { folder, fs, logFile: false, lockPatienceMs: 0 })
  return await engine.update().then(
    ({ outcome }) => outcome,
    (error: { code?: string }) => error.code ?? String(error),
  )
}

describe('an installed file that is read-only', () => {
  it('is copied for its new place all the same, also where such a copy was left behind', async () => {
    const publisher = await Publisher.create()
    const big = noise(300_000, 1)
    await publisher.release({ 'a.bin': big, 'b.txt': 'b' }, { index: false })
    const { engine, folder } = await engineFor(publisher)
    await engine.update()
    await chmod(join(folder, 'a.bin'), 0o444)
    // As the system answers everybody but root.
    const strict: FileSystem = {
      ...nodeFileSystem,
      open: (async (path: string, flags: number, mode?: number) => {
        const stats =
          (flags & constants.O_RDWR) === 0 ? undefined : await nodeFileSystem.lstat(path).catch(() => undefined)
        if (stats !== undefined && (stats.mode & 0o200) === 0)
          throw Object.assign(new Error('EACCES: permission denied'), { code: 'EACCES' })
        return await nodeFileSystem.open(path, flags, mode)
      }) as FileSystem['open'],
    }
    const made = await publisher.release({ 'a.bin': big, 'copy/a.bin': big, 'b.txt': 'b2' }, { index: false })
    const left = await temporaryFolder()
    await cp(folder, left, { recursive: true, preserveTimestamps: true })
    expect(await updateOn(publisher, folder, strict)).toBe('updated')
    expect(await treeText(folder)).toBe(expectedText(made.files, sha256Hex))
    await writeFile(join(left, '.updates/staging', sha256Hex(big)), big, { mode: 0o444 })
    expect(await updateOn(publisher, left, strict)).toBe('updated')
    expect(await treeText(left)).toBe(expectedText(made.files, sha256Hex))
  })
})

describe('the launcher’s own folder', () => {
  it.each(['staging', 'backup', 'trust', 'index'])(
    'whose %s is a link is refused, and nothing is written through it (row 202)',
    async (name) => {
      const { publisher, folder, from } = await installed()
      const elsewhere = await temporaryFolder()
      await rm(join(folder, '.updates', name), { recursive: true })
      await symlink(elsewhere, join(folder, '.updates', name))
      expect(await updateOn(publisher, folder, nodeFileSystem)).toBe('LA_SYMLINK')
      expect(await treeText(elsewhere)).toBe('')
      expect(await treeText(folder)).toBe(from)
    },
  )

  it('that is another user’s is refused, one open to all is closed first (row 202)', async () => {
    const { publisher, folder, from, to } = await installed()
    const foreign: FileSystem = {
      ...nodeFileSystem,
      lstat: (async (path: string, options: object) => {
        const stats = await nodeFileSystem.lstat(path, options)
        return path.endsWith('/.updates/staging')
          ? Object.assign(Object.create(Object.getPrototypeOf(stats) as object) as object, stats, { uid: 4_000_000 })
          : stats
      }) as FileSystem['lstat'],
    }
    expect(await updateOn(publisher, folder, foreign)).toBe('LA_PERMISSION')
    expect(await treeText(folder)).toBe(from)
    await chmod(join(folder, '.updates/staging'), 0o777)
    expect(await updateOn(publisher, folder, nodeFileSystem)).toBe('updated')
    expect((await lstat(join(folder, '.updates/staging'))).mode & 0o777).toBe(0o700)
    expect(await treeText(folder)).toBe(to)
  })
})

describe('what is in the way', () => {
  it('a pipe in the place of a file is replaced and never opened, one in the place of a folder is set aside (row 203)', async () => {
    const { publisher, folder, to } = await installed()
    await rm(join(folder, 'a.txt'))
    execFileSync('mkfifo', [join(folder, 'a.txt'), join(folder, 'new')])
    expect(await updateOn(publisher, folder, nodeFileSystem)).toBe('updated')
    expect((await lstat(join(folder, 'new.set-aside'))).isFIFO()).toBe(true)
    await rm(join(folder, 'new.set-aside'))
    expect(await treeText(folder)).toBe(to)
  })

  it('two names that one folder cannot tell apart are refused before anything is fetched (row 227)', async () => {
    const { publisher, folder, from } = await installed()
    const honest = await publisher.release({ 'b.txt': 'one', 'c.txt': 'two' })
    const bytes = new TextEncoder().encode(new TextDecoder().decode(honest.bytes).replace('"c.txt"', '"B.txt"'))
    const made: MadeRelease = {
      ...honest,
      bytes,
      signatures: await signManifest(bytes, [signerOf('release 1')]),
      pin: manifestPin(honest.model, sha256Hex(bytes), bytes.length),
    }
    publisher.serve(made)
    await publisher.head(made)
    expect(await updateOn(publisher, folder, nodeFileSystem)).toBe('MAN_PATH_COLLISION')
    expect(await treeText(folder)).toBe(from)
  })
})

/** Runs with one failing call after the other, until the plan no longer comes true. */
async function everyFault(
  mode: Omit<FaultPlan, 'at'>,
  counts: (operation: RecordedOperation) => boolean,
  check: (run: {
    code: string
    folder: string
    operation: RecordedOperation | undefined
    publisher: Publisher
    from: string
    to: string
  }) => Promise<void>,
): Promise<number> {
  const scene = await installed()
  let points = 0
  for (let at = 0; ; at += everyNth) {
    const folder = await temporaryFolder('fast')
    execFileSync('cp', ['-a', `${scene.folder}/.`, folder])
    const fs = faultFileSystem({ plan: { ...mode, at }, counts })
    const code = await updateOn(scene.publisher, folder, fs)
    if (!fs.fired) return points
    points += 1
    await check({
      code,
      folder,
      operation: fs.operations[at],
      publisher: scene.publisher,
      from: scene.from,
      to: scene.to,
    })
    await rm(folder, { recursive: true })
  }
}

const reading = new Set(['open', 'readFile', 'readdir', 'lstat', 'stat', 'statfs', 'handle.read', 'handle.stat'])

describe('a disk that fails', () => {
  it(
    'with EIO at any call that reads: the old release, or the new one, and a code of its own (row 211)',
    async () => {
      const points = await everyFault(
        { mode: 'fail', code: 'EIO' },
        ({ name }) => reading.has(name),
        async ({ code, folder, operation, publisher, from, to }) => {
          const where = `${operation?.name ?? ''} ${operation?.path ?? ''}`
          expect(code, where).toMatch(/^(LA_[A-Z_]+|updated|up-to-date|repaired)$/)
          const tree = await treeText(folder)
          expect([from, to], where).toContain(tree)
          expect(await updateOn(publisher, folder, nodeFileSystem), where).toMatch(/^(updated|up-to-date|repaired)$/)
          expect(await treeText(folder), where).toBe(to)
        },
      )
      console.info(`EIO at ${points} reading calls`)
      expect(points).toBeGreaterThan(3)
    },
    patienceMs,
  )

  it('to sync once: what was written before is not believed again, but fetched again (row 212)', async () => {
    const publisher = await Publisher.create()
    const big = noise(3_000_000, 8)
    const made = await publisher.release({ 'big.bin': big }, { index: false })
    const folder = await temporaryFolder()
    const fs = faultFileSystem({
      plan: { at: 0, mode: 'fail', code: 'EIO' },
      counts: ({ name, path }) => /^handle\.(data)?sync$/.test(name) && path.endsWith('.part'),
    })
    expect(await updateOn(publisher, folder, fs)).toBe('LA_IO')
    expect(existsSync(join(folder, '.updates/staging', `${sha256Hex(big)}.part`))).toBe(false)
    const { engine } = await engineFor(publisher, { folder })
    expect((await engine.update()).downloadedBytes).toBe(big.length)
    expect(await treeText(folder)).toBe(expectedText(made.files, sha256Hex))
  })

  it(
    'to sync anything, at any time: the old release or the new one (row 212)',
    async () => {
      const points = await everyFault(
        { mode: 'fail', code: 'EIO' },
        ({ name }) => name === 'handle.sync' || name === 'handle.datasync',
        async ({ folder, publisher, from, to }) => {
          expect([from, to]).toContain(await treeText(folder))
          expect(await updateOn(publisher, folder, nodeFileSystem)).toMatch(/^(updated|up-to-date|repaired)$/)
          expect(await treeText(folder)).toBe(to)
        },
      )
      expect(points).toBeGreaterThan(1)
    },
    patienceMs,
  )

  it('because it is mounted read-only: LA_PERMISSION before the first change (row 216)', async () => {
    const { publisher, folder, from } = await installed()
    const changes: string[] = []
    const changing = [
      'mkdir',
      'rename',
      'rm',
      'rmdir',
      'unlink',
      'copyFile',
      'chmod',
      'link',
      'symlink',
      'utimes',
    ] as const
    const refuse =
      (name: string) =>
      async (path: unknown): Promise<never> => {
        changes.push(`${name} ${String(path)}`)
        return await Promise.reject(Object.assign(new Error('EROFS: read-only file system'), { code: 'EROFS' }))
      }
    const readOnly = {
      ...nodeFileSystem,
      ...Object.fromEntries(changing.map((name) => [name, refuse(name)])),
      open: async (path: string, flags: string | number, mode?: number): Promise<FileHandle> =>
        flags === 'r' || flags === 0 ? await nodeFileSystem.open(path, flags, mode) : await refuse('open')(path),
    } as FileSystem
    expect(await updateOn(publisher, folder, readOnly)).toBe('LA_PERMISSION')
    expect(changes.length).toBeLessThanOrEqual(2) // the lock, and no more
    expect(await treeText(folder)).toBe(from)
  })

  it('for want of open files, once: it says so, and goes on from there; it never holds more than two dozen (row 215)', async () => {
    const publisher = await Publisher.create()
    const made = await publisher.release(
      Object.fromEntries(Array.from({ length: 300 }, (_, index) => [`f/${index}.bin`, noise(300 + index, index + 1)])),
    )
    const folder = await temporaryFolder()
    const scarce = faultFileSystem({
      plan: { at: 100, mode: 'fail', code: 'EMFILE' },
      counts: ({ name }) => name === 'open',
    })
    expect(await updateOn(publisher, folder, scarce)).toBe('LA_IO')
    let [now, most] = [0, 0]
    const counting: FileSystem = {
      ...nodeFileSystem,
      open: async (...args) => {
        const handle = await nodeFileSystem.open(...args)
        most = Math.max(most, (now += 1))
        const close = handle.close.bind(handle)
        handle.close = async () => {
          now -= 1
          await close()
        }
        return handle
      },
    }
    expect(await updateOn(publisher, folder, counting)).toBe('updated')
    expect(now).toBe(0)
    expect(most).toBeLessThanOrEqual(24)
    expect(await treeText(folder)).toBe(expectedText(made.files, sha256Hex))
  })
})

/** A process that holds the lock of an install, run as given; resolves once it does. */
async function holderOf(folder: string, run: readonly string[] = []): Promise<{ kill(): Promise<void> }> {
  const lock = join(folder, '.updates/lock')
  const primitives = pathToFileURL(join(import.meta.dirname, '../../../packages/primitives/dist/node/index.js')).href
  const script =
    `const { lockFile } = await import(${JSON.stringify(primitives)}); ` +
    `await lockFile(${JSON.stringify(lock)}, {}); console.log('held'); setInterval(() => {}, 1000)`
  const [program = '', ...args] = [...run, process.execPath, '--input-type=module', '-e', script]
  const holder = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  await new Promise<void>((resolve, reject) => {
    holder.stdout.once('data', () => resolve())
    holder.once('close', (code) => reject(new Error(`the holder ended with ${code}`)))
  })
  return {
    kill: async () => {
      holder.kill('SIGKILL')
      await new Promise((resolve) => holder.once('close', resolve))
    },
  }
}

/** Whether this system makes such namespaces for this user. */
function canUnshare(...flags: readonly string[]): boolean {
  try {
    execFileSync('unshare', [...flags, 'true'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

const OTHER_HOST = ['unshare', '-u', 'sh', '-c', 'hostname other-name; exec "$@"', 'sh']
const OTHER_PIDS = ['unshare', '-pf', '--mount-proc', '--kill-child']

describe('the lock', () => {
  it('of a launcher that lives is respected, of one that was killed taken over (row 217)', async () => {
    const { publisher, folder, to } = await installed()
    const holder = await holderOf(folder)
    expect(await updateOn(publisher, folder, nodeFileSystem)).toBe('LA_LOCKED')
    await holder.kill()
    expect(await readFile(join(folder, '.updates/lock'), 'utf8')).not.toBe('')
    expect(await updateOn(publisher, folder, nodeFileSystem)).toBe('updated')
    expect(await treeText(folder)).toBe(to)
  })

  it.runIf(canUnshare('-u'))(
    'of a launcher that was killed under another host name is taken over (row 217)',
    async () => {
      const { publisher, folder, to } = await installed()
      const holder = await holderOf(folder, OTHER_HOST)
      expect(await updateOn(publisher, folder, nodeFileSystem)).toBe('LA_LOCKED')
      await holder.kill()
      expect(await updateOn(publisher, folder, nodeFileSystem)).toBe('updated')
      expect(await treeText(folder)).toBe(to)
    },
  )

  it.runIf(canUnshare('-pf', '--mount-proc'))(
    'of a launcher that lives in another PID namespace is respected (row 217)',
    async () => {
      const { publisher, folder, from, to } = await installed()
      const holder = await holderOf(folder, OTHER_PIDS)
      expect(await updateOn(publisher, folder, nodeFileSystem)).toBe('LA_LOCKED')
      expect(await treeText(folder)).toBe(from)
      await holder.kill()
      expect(await updateOn(publisher, folder, nodeFileSystem)).toBe('updated')
      expect(await treeText(folder)).toBe(to)
    },
  )

  it('whose process number another program has now is taken over (row 217)', async () => {
    const { publisher, folder, to } = await installed()
    const earlier = { pid: process.pid, host: hostname(), started: 'long before this process', token: 'ab'.repeat(12) }
    await writeFile(join(folder, '.updates/lock'), JSON.stringify(earlier))
    expect(await updateOn(publisher, folder, nodeFileSystem)).toBe('updated')
    expect(await treeText(folder)).toBe(to)
  })
})

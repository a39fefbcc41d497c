import { execFileSync, spawn } from 'node:child_process'
import type { ChildProcessWithoutNullStreams } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readFile, readdir, rm, utimes, writeFile } from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { inspectLock, isLockFile, lockFile, nodeFileSystem } from '../src/node/index.ts'
import type { FileSystem, LockHolder } from '../src/node/index.ts'
import { faultFileSystem } from '../src/testing/index.ts'

const HOLDER = fileURLToPath(new URL('support/hold-lock.ts', import.meta.url))
const DEAD_PID = 2 ** 22 + 1

let folder = ''
let path = ''
const children: ChildProcessWithoutNullStreams[] = []

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keyturn-lock-'))
  path = join(folder, 'lock')
})
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
  await rm(folder, { recursive: true, force: true })
})

async function code(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => 'no error',
    (error: unknown) => (error as { code?: string }).code,
  )
}

interface Process {
  readonly child: ChildProcessWithoutNullStreams
  /** The next line it prints. */
  line(): Promise<string>
  ended(): Promise<void>
}

function start(args: readonly string[], through: readonly string[] = []): Process {
  const [program = '', ...rest] = [...through, process.execPath, HOLDER, ...args]
  const child = spawn(program, rest, {
    stdio: ['pipe', 'pipe', 'inherit'],
  }) as unknown as ChildProcessWithoutNullStreams
  children.push(child)
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const exit = once(child, 'exit')
  return {
    child,
    line: async () => String((await lines.next()).value),
    ended: async () => void (await exit),
  }
}

/** Whether this machine lets the tests make namespaces of that kind. */
function canUnshare(...flags: readonly string[]): boolean {
  try {
    execFileSync('unshare', [...flags, 'true'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

const oldHolder = (facts: Partial<LockHolder>): string =>
  JSON.stringify({ pid: DEAD_PID, host: hostname(), started: '', token: 'ab'.repeat(12), ...facts })

describe('lockFile() in one process', () => {
  it('lockFile() lets one holder in, names it to the next and leaves nothing behind', async () => {
    const lock = await lockFile(path)
    expect(lock.kind).toBe('system')
    const refused = await lockFile(path).catch((error: unknown) => error)
    expect(refused).toMatchObject({ code: 'PRIM_LOCKED', kind: 'busy', details: { pid: process.pid } })
    const waiting = lockFile(path, { waitMs: 60_000 })
    await lock.release()
    await lock.release()
    await (await waiting).release()
    expect(await readdir(folder)).toEqual([])
  })

  it('lockFile() stops waiting when the signal says so', async () => {
    const lock = await lockFile(path)
    const stop = new AbortController()
    const waiting = lockFile(path, { waitMs: 60_000, signal: stop.signal })
    stop.abort()
    await expect(waiting).rejects.toThrow()
    await lock.release()
  })

  it('lockFile() excludes the threads of one process, and a thread that ends gives its lock back', async () => {
    const script = `import(${JSON.stringify(new URL('../src/node/lock.ts', import.meta.url).href)}).then(async ({ lockFile }) => {
      const { parentPort } = await import('node:worker_threads')
      await lockFile(${JSON.stringify(path)})
      parentPort.postMessage('held')
    })`
    const worker = new Worker(script, { eval: true })
    worker.ref()
    const idle = setInterval(() => undefined, 1000) // the worker has nothing left to do once it has posted
    expect(await once(worker, 'message')).toEqual(['held'])
    await worker.terminate()
    clearInterval(idle)
    await (await lockFile(path, { waitMs: 60_000 })).release()
    expect(await readdir(folder)).toEqual([])
  })

  it('lockFile() leaves the lock free or held at every failing call, never both', async () => {
    for (let at = 0; ; at++) {
      const fs = faultFileSystem({ plan: { at, mode: 'fail' } })
      const lock = await lockFile(path, { fs }).catch(() => undefined)
      if (lock !== undefined) {
        expect(await code(lockFile(path))).toBe('PRIM_LOCKED')
        await lock.release().catch(() => undefined)
      }
      expect(fs.openHandles).toBe(0)
      await (await lockFile(path)).release()
      if (!fs.fired) break
      expect(at).toBeLessThan(50)
    }
  })
})

describe('lockFile() across processes', () => {
  it('lockFile() never overruns a living holder, and takes over from a killed one at once (row 409)', async () => {
    const { child, line, ended } = start([path])
    expect(await line()).toBe(`held system ${child.pid}`)
    expect(await code(lockFile(path))).toBe('PRIM_LOCKED')
    expect((await inspectLock(path)).state).toBe('held')
    child.kill('SIGKILL')
    await ended()
    expect(await inspectLock(path)).toMatchObject({ state: 'left-behind', holder: { pid: child.pid } })
    const lock = await lockFile(path)
    expect((await readdir(folder)).sort()).toEqual(['lock', expect.stringMatching(/^lock\.[0-9a-f]{24}\.held$/)])
    await lock.release()
    expect(await readdir(folder)).toEqual([])
    expect(await inspectLock(path)).toEqual({ state: 'free' })
  })

  it.runIf(canUnshare('-u'))(
    'lockFile() takes over from a holder that died under another host name (row 409)',
    async () => {
      const { line, child, ended } = start(
        [path],
        ['unshare', '-u', 'sh', '-c', 'hostname other-name; exec "$@"', 'sh'],
      )
      expect(await line()).toMatch(/^held system/)
      expect(await lockFile(path).catch((error: unknown) => error)).toMatchObject({
        code: 'PRIM_LOCKED',
        details: { host: 'other-name' },
      })
      child.kill('SIGKILL')
      await ended()
      await (await lockFile(path)).release()
      expect(await readdir(folder)).toEqual([])
    },
  )

  it.runIf(canUnshare('-pf', '--mount-proc'))(
    'lockFile() never overruns a holder in another PID namespace (row 409)',
    async () => {
      const inside = start([path], ['unshare', '-pf', '--mount-proc', '--kill-child'])
      expect(await inside.line()).toMatch(/^held system/)
      expect(await code(lockFile(path))).toBe('PRIM_LOCKED')
      const second = start([path], ['unshare', '-pf', '--mount-proc', '--kill-child'])
      expect(await second.line()).toBe('error PRIM_LOCKED')
      inside.child.stdin.write('release\n')
      expect(await inside.line()).toBe('release')
      await (await lockFile(path, { waitMs: 60_000 })).release()
    },
  )

  it('lockFile() lets one process in at a time, many times over, though some are killed inside', async () => {
    const log = join(folder, 'log')
    const processes = [
      start([path, 'cycle', log, '60']),
      start([path, 'cycle', log, '60']),
      start([path, 'cycle-and-die', log, '20']),
      start([path, 'cycle-and-die', log, '40']),
    ]
    await Promise.all(processes.map(({ ended }) => ended()))
    const lines = (await readFile(log, 'utf8')).trimEnd().split('\n')
    expect(lines).toHaveLength(2 * (60 + 60 + 20 + 40))
    for (let at = 0; at < lines.length; at += 2) {
      expect(lines[at]).toMatch(/^in /)
      expect(lines[at + 1]).toBe(`out ${String(lines[at]).slice(3)}`)
    }
    await (await lockFile(path)).release()
    expect(await readdir(folder)).toEqual(['log'])
  })
})

describe('lockFile() after a crash', () => {
  it('lockFile() takes over from a dead holder of an earlier version, and only one of many does', async () => {
    for (let round = 0; round < 20; round++) {
      await writeFile(path, oldHolder({ token: round.toString(16).padStart(24, '0') }))
      const results = await Promise.allSettled(Array.from({ length: 8 }, () => lockFile(path)))
      const won = results.filter((result) => result.status === 'fulfilled')
      expect(won).toHaveLength(1)
      for (const result of won) await result.value.release()
      expect(await readdir(folder)).toEqual([])
    }
  })

  it('lockFile() takes over from a dead holder of this version, and only one of many does', async () => {
    for (let round = 0; round < 20; round++) {
      const token = round.toString(16).padStart(24, '0')
      await writeFile(path, oldHolder({ pid: process.pid, host: 'elsewhere', token, lock: 'system' }))
      if (round % 2 === 0) await writeFile(`${path}.${token}.held`, '')
      const results = await Promise.allSettled(Array.from({ length: 8 }, () => lockFile(path)))
      const won = results.filter((result) => result.status === 'fulfilled')
      expect(won).toHaveLength(1)
      for (const result of won) await result.value.release()
      expect(await readdir(folder)).toEqual([])
    }
  })

  it('lockFile() believes a living holder of an earlier version', async () => {
    await writeFile(path, oldHolder({ pid: process.pid }))
    expect(await code(lockFile(path))).toBe('PRIM_LOCKED')
  })

  it('lockFile() believes an earlier version on another host for a day, and never for good', async () => {
    await writeFile(path, oldHolder({ host: 'elsewhere' }))
    const refused = await lockFile(path).catch((error: unknown) => error)
    expect(refused).toMatchObject({ code: 'PRIM_LOCKED', hint: expect.stringContaining('delete') as unknown })
    expect((await inspectLock(path)).state).toBe('unknown')
    const before = new Date(Date.now() - 25 * 60 * 60 * 1000)
    await utimes(path, before, before)
    await (await lockFile(path)).release()
    expect(await readdir(folder)).toEqual([])
  })

  it('lockFile() leaves a half-written lock alone while it is fresh, and takes it over later', async () => {
    await writeFile(path, '')
    expect(await code(lockFile(path))).toBe('PRIM_LOCKED')
    const before = new Date(Date.now() - 60_000)
    await utimes(path, before, before)
    const results = await Promise.allSettled(Array.from({ length: 8 }, () => lockFile(path)))
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  })

  it('lockFile() sweeps up what attempts that were killed half way have left, after a take-over', async () => {
    const before = new Date(Date.now() - 60_000)
    for (const name of [
      'lock.' + '1'.repeat(24) + '.held',
      'lock.' + '2'.repeat(24) + '.tmp',
      'lock.other',
      'mylock.' + '1'.repeat(24) + '.held',
    ]) {
      await writeFile(join(folder, name), '')
      await utimes(join(folder, name), before, before)
    }
    await writeFile(path, oldHolder({}))
    await (await lockFile(path)).release()
    expect((await readdir(folder)).sort()).toEqual(['lock.other', 'mylock.' + '1'.repeat(24) + '.held'])
  })
})

it('isLockFile() knows every file that a lock may leave, and no other', async () => {
  const lock = await lockFile(join(folder, 'keystore.lock'))
  const names = await readdir(folder)
  expect(names).toHaveLength(2)
  expect(names.every((name) => isLockFile(name))).toBe(true)
  await lock.release()
  expect(['lock', 'vault/lock', `lock.guard.${'a'.repeat(24)}.held`].every((name) => isLockFile(name))).toBe(true)
  expect(['lock.json', 'block', 'pnpm-lock.yaml', 'lock.held', 'locks'].some((name) => isLockFile(name))).toBe(false)
})

describe('lockFile() on other file systems', () => {
  it('lockFile() works without hard links', async () => {
    const fs: FileSystem = {
      ...nodeFileSystem,
      link: () => Promise.reject(Object.assign(new Error('no links'), { code: 'EPERM' })),
    }
    const results = await Promise.allSettled(Array.from({ length: 8 }, () => lockFile(path, { fs })))
    const won = results.filter((result) => result.status === 'fulfilled')
    expect(won).toHaveLength(1)
    for (const { value } of won) await value.release()
    expect(await readdir(folder)).toEqual([])
  })

  it('lockFile() without locks of the system goes by the process id and says so (row 409)', async () => {
    const options = { takeSystemLock: () => Promise.resolve('unsupported' as const) }
    const lock = await lockFile(path, options)
    expect(lock.kind).toBe('process-id')
    expect(await code(lockFile(path, options))).toBe('PRIM_LOCKED')
    expect(await code(lockFile(path))).toBe('PRIM_LOCKED')
    await lock.release()
    expect(await readdir(folder)).toEqual([])
  })

  it.runIf(process.platform === 'linux')(
    'lockFile() on a shared folder of a virtual machine does not take a free lock of another machine for a dead holder',
    async () => {
      const fs: FileSystem = {
        ...nodeFileSystem,
        statfs: (async (at: string) => ({
          ...(await nodeFileSystem.statfs(at)),
          type: 0x01021997,
        })) as FileSystem['statfs'],
      }
      const holder = { host: 'elsewhere', started: 'other-boot/1', lock: 'system', machine: 'f'.repeat(32) } as const
      await writeFile(path, oldHolder(holder))
      expect(await code(lockFile(path, { fs }))).toBe('PRIM_LOCKED')
      expect((await inspectLock(path, { fs })).state).toBe('unknown')
      await (await lockFile(path)).release() // a disk of this machine: the other boot is over
    },
  )

  it('lockFile() in a folder that is not there, or that cannot be written, says why', async () => {
    expect(await code(lockFile(join(folder, 'none', 'lock')))).toBe('PRIM_FILE')
    await mkdir(path)
    expect(await code(lockFile(path))).toBe('PRIM_FILE')
  })
})

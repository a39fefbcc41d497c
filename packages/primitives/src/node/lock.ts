import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { PrimitivesError } from '../errors.ts'
import { parseStrictJson } from '../json.ts'
import { onDisk } from './file-error.ts'
import { nodeFileSystem, isMissing, systemErrorCode } from './file-system.ts'
import type { FileSystem } from './file-system.ts'

/** Who holds a lock, as written in the lock file. */
export interface LockHolder {
  readonly pid: number
  readonly host: string
  /** Start of the process in the system's own words, so that a reused pid is told apart; empty where unknown. */
  readonly started: string
  /** Random, one per acquisition. */
  readonly token: string
}

/** Options of {@link lockFile}. */
export interface LockOptions {
  /** How long to wait for the present holder, milliseconds; default 0. */
  waitMs?: number
  signal?: AbortSignal
  /** Default: the real disk. */
  fs?: FileSystem
  /** Whether the holder still lives; default asks the system. For tests. */
  isAlive?: (holder: LockHolder) => boolean
}

/** A held lock. */
export interface Lock {
  readonly path: string
  /** Gives the lock back; a second call does nothing. */
  release(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** A lock file nobody has finished writing is left alone this long. */
const unreadableGraceMs = 10_000
const pollMs = 50
const guardPollMs = 5

/**
 * Takes a lock that one process holds at a time: a file, born whole, that names its holder. A lock whose holder has
 * died is taken over; removing it is itself guarded by a lock named after the dead holder's token, so that two
 * processes never both believe they have it.
 *
 * @throws PrimitivesError `PRIM_LOCKED` (kind `busy`) when another process holds it after `waitMs`.
 */
export async function lockFile(path: string, options: LockOptions = {}): Promise<Lock> {
  const { waitMs = 0, signal, fs = nodeFileSystem, isAlive = holderIsAlive } = options
  const deadline = performance.now() + waitMs
  for (;;) {
    signal?.throwIfAborted()
    const mine: LockHolder = {
      pid: process.pid,
      host: hostname(),
      started: processStart(process.pid),
      token: randomBytes(12).toString('hex'),
    }
    if (await onDisk('Cannot make lock', path, () => createLock(path, mine, fs))) return heldLock(path, mine, fs)
    const holder = await readHolder(path, fs)
    if (holder === 'gone') continue
    if (holder !== 'unreadable' && !isAlive(holder)) {
      await removeStale(path, holder, options)
      continue
    }
    if (performance.now() >= deadline) throw locked(path, holder)
    await sleep(
      Math.min(pollMs, Math.max(1, deadline - performance.now())),
      undefined,
      signal === undefined ? {} : { signal },
    )
  }
}

function locked(path: string, holder: LockHolder | 'unreadable'): PrimitivesError {
  const who = holder === 'unreadable' ? 'another process' : `process ${holder.pid} on ${holder.host}`
  const details = holder === 'unreadable' ? { path } : { path, pid: holder.pid, host: holder.host }
  return new PrimitivesError('PRIM_LOCKED', `Cannot take lock "${path}": ${who} holds it`, {
    details,
    hint: 'Wait until that process has ended, then try again',
  })
}

function heldLock(path: string, mine: LockHolder, fs: FileSystem): Lock {
  let held = true
  const release = async (): Promise<void> => {
    if (!held) return
    held = false
    const holder = await readHolder(path, fs)
    if (typeof holder !== 'string' && holder.token === mine.token) await fs.rm(path, { force: true })
  }
  return { path, release, [Symbol.asyncDispose]: release }
}

/** Creates the file with its whole content in one step, or says that there is one already. */
async function createLock(path: string, mine: LockHolder, fs: FileSystem): Promise<boolean> {
  const content = new TextEncoder().encode(JSON.stringify(mine))
  const temporary = `${path}.${mine.token}.tmp`
  const handle = await fs.open(temporary, 'wx', 0o600)
  try {
    await handle.writeFile(content)
  } finally {
    await handle.close()
  }
  try {
    await fs.link(temporary, path)
    return true
  } catch (error) {
    if (systemErrorCode(error) === 'EEXIST') return false
    return await createWithoutLinks(path, content, fs, error)
  } finally {
    await fs.rm(temporary, { force: true })
  }
}

async function createWithoutLinks(path: string, content: Uint8Array, fs: FileSystem, cause: unknown): Promise<boolean> {
  if (!['EPERM', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP'].includes(systemErrorCode(cause) ?? '')) throw cause
  try {
    const handle = await fs.open(path, 'wx', 0o600)
    try {
      await handle.writeFile(content)
    } finally {
      await handle.close()
    }
    return true
  } catch (error) {
    if (systemErrorCode(error) === 'EEXIST') return false
    throw error
  }
}

async function readHolder(path: string, fs: FileSystem): Promise<LockHolder | 'gone' | 'unreadable'> {
  try {
    const bytes = await fs.readFile(path)
    const holder = parseHolder(bytes)
    if (holder !== undefined) return holder
    const { mtimeMs } = await fs.stat(path)
    if (Date.now() - mtimeMs < unreadableGraceMs) return 'unreadable'
    // Written by a process that died in between, on a file system without hard links.
    await fs.rm(path, { force: true })
    return 'gone'
  } catch (error) {
    if (isMissing(error)) return 'gone'
    throw error
  }
}

function parseHolder(bytes: Uint8Array): LockHolder | undefined {
  try {
    const value = parseStrictJson(bytes)
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
    const { pid, host, started, token } = value
    if (typeof pid !== 'number' || typeof host !== 'string' || typeof started !== 'string') return undefined
    return typeof token === 'string' && /^[0-9a-f]{24}$/.test(token) ? { pid, host, started, token } : undefined
  } catch {
    return undefined // a half-written file is what the caller asks about
  }
}

/** Only the holder of the guard removes the file with this token, and tokens never come back: no double take-over. */
async function removeStale(path: string, stale: LockHolder, options: LockOptions): Promise<void> {
  const { fs = nodeFileSystem } = options
  const guard = await tryLock(`${path}.${stale.token.slice(0, 12)}`, options)
  if (guard === undefined) return void (await sleep(guardPollMs)) // somebody else is at it
  try {
    const now = await readHolder(path, fs)
    if (typeof now !== 'string' && now.token === stale.token) await fs.rm(path, { force: true })
  } finally {
    await guard.release()
  }
}

async function tryLock(path: string, options: LockOptions): Promise<Lock | undefined> {
  try {
    return await lockFile(path, { ...options, waitMs: 0 })
  } catch (error) {
    if (error instanceof PrimitivesError && error.code === 'PRIM_LOCKED') return undefined
    throw error
  }
}

/** A holder on another machine cannot be asked and counts as alive. */
function holderIsAlive(holder: LockHolder): boolean {
  if (holder.host !== hostname()) return true
  try {
    process.kill(holder.pid, 0)
  } catch (error) {
    if (systemErrorCode(error) === 'ESRCH') return false
  }
  const started = processStart(holder.pid)
  return started === '' || holder.started === '' || started === holder.started
}

/** Boot and start time of a process on Linux; empty elsewhere or when it cannot be read. */
function processStart(pid: number): string {
  if (process.platform !== 'linux') return ''
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
    const status = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return `${boot}/${status.slice(status.lastIndexOf(')') + 2).split(' ')[19] ?? ''}`
  } catch {
    return '' // no /proc: the pid alone decides
  }
}

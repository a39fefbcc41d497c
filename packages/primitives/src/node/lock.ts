import { randomBytes } from 'node:crypto'
import { basename, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { PrimitivesError, printable } from '../errors.ts'
import { onDisk } from './file-error.ts'
import { isMissing, nodeFileSystem, systemErrorCode } from './file-system.ts'
import type { FileHandle, FileSystem } from './file-system.ts'
import { freeMeansDead, parseHolder, stateByPid, thisHolder } from './lock-holder.ts'
import type { HolderState, LockHolder } from './lock-holder.ts'
import { takeSystemLock } from './system-lock.ts'
import type { SystemLock, TakeSystemLock } from './system-lock.ts'

/** Options of {@link lockFile}. */
export interface LockOptions {
  /** How long to wait for the present holder, milliseconds; default 0. */
  readonly waitMs?: number | undefined
  readonly signal?: AbortSignal | undefined
  /** Default: the real disk. */
  readonly fs?: FileSystem | undefined
  /** How the system's lock is taken; for tests. */
  readonly takeSystemLock?: TakeSystemLock | undefined
}

/** A held lock. */
export interface Lock {
  readonly path: string
  /**
   * What keeps others out: the operating system's lock, or, on a file system or runtime without such locks, only the
   * process id in the lock file, which says nothing across machines and containers.
   */
  readonly kind: 'system' | 'process-id'
  /** Releases the lock; a second call does nothing. */
  release(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** What {@link inspectLock} finds. */
export interface LockState {
  /** `left-behind`: its holder has ended without releasing it, and the next one takes it over. */
  readonly state: 'free' | 'held' | 'left-behind' | 'unknown'
  readonly holder?: LockHolder | undefined
}

/** A lock file that nobody has finished writing is left alone this long. */
const UNREADABLE_GRACE_MS = 10_000
/** A holder that cannot be asked, of an earlier version on another host, is believed this long after it began. */
const UNKNOWN_GRACE_MS = 24 * 60 * 60 * 1000
/** What follows the name of the lock in the files of one attempt. */
const ATTEMPT = /^[0-9a-f]{24}\.(?:held|tmp)$/
const POLL_MS = 50
const GUARD_POLL_MS = 5
/** Error codes of file systems without hard links. */
const NO_HARD_LINKS = ['EPERM', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP']

const LOCK_NAME = /(?:^|[./\\])lock(?:\.guard)*(?:\.[0-9a-f]{24}\.(?:held|tmp))?$/

/**
 * Whether a file belongs to a lock whose path ends in `lock`, as every one of ours does: the lock file or one beside
 * it. Such files say something about processes and nothing about the folder, so copies leave them out.
 *
 * @param path - A name or path.
 */
export function isLockFile(path: string): boolean {
  return LOCK_NAME.test(path)
}

/** One attempt's surroundings. */
interface Place {
  readonly path: string
  readonly fs: FileSystem
  readonly take: TakeSystemLock
}

type Found = LockHolder | 'gone' | 'unreadable'

/**
 * Takes a lock that one process holds at a time, across containers, host names and reboots.
 *
 * The lock file names the holder, for messages. Whether the holder lives is asked of the operating system: each holder
 * has the system's lock of a file of its own, `<path>.<token>.held`, and the system releases it when the process ends,
 * however it ends. Who finds that lock free takes it, and so is the only one to remove what the dead holder left. Names
 * with a token never come back, so no lock file is removed by mistake. Nothing is left after `release()`.
 *
 * @throws PrimitivesError `PRIM_LOCKED` (kind `busy`) when another process holds it after `waitMs`; `PRIM_FILE`,
 * `PRIM_DISK_FULL`.
 */
export async function lockFile(path: string, options: LockOptions = {}): Promise<Lock> {
  const { waitMs = 0, signal, fs = nodeFileSystem } = options
  const place = { path, fs, take: options.takeSystemLock ?? takeSystemLock }
  const deadline = performance.now() + waitMs
  let tookOver = false
  for (let attempts = 0; ; attempts++) {
    signal?.throwIfAborted()
    const lock = await onDisk('Cannot make lock', path, () => tryCreate(place))
    if (lock !== undefined) {
      if (tookOver) await removeOrphans(place)
      return lock
    }
    const found = await onDisk('Cannot read lock', path, () => readHolder(place))
    if (found === 'gone') continue
    const state = await onDisk('Cannot examine lock', path, () => stateOf(place, found, true))
    if (state === 'dead') {
      tookOver = true
      continue
    }
    // Never on the first look alone: the system's lock may be that of somebody who is just looking, as here.
    const leftMs = deadline - performance.now()
    if (leftMs <= 0 && attempts > 0) throw locked(path, found, state)
    await sleep(leftMs <= 0 ? GUARD_POLL_MS : Math.min(POLL_MS, leftMs), undefined, signal && { signal })
  }
}

/**
 * Says whether a lock is held, and by whom, and changes nothing.
 *
 * @throws PrimitivesError `PRIM_FILE`.
 */
export async function inspectLock(
  path: string,
  options: Pick<LockOptions, 'fs' | 'takeSystemLock'> = {},
): Promise<LockState> {
  const place = { path, fs: options.fs ?? nodeFileSystem, take: options.takeSystemLock ?? takeSystemLock }
  const found = await onDisk('Cannot read lock', path, () => readHolder(place))
  if (found === 'gone') return { state: 'free' }
  const state = await onDisk('Cannot examine lock', path, () => stateOf(place, found, false))
  const named = { alive: 'held', dead: 'left-behind', unknown: 'unknown' } as const
  return { state: named[state], ...(typeof found === 'string' ? {} : { holder: found }) }
}

function locked(path: string, found: Exclude<Found, 'gone'>, state: HolderState): PrimitivesError {
  const details = typeof found === 'string' ? { path } : { path, pid: found.pid, host: found.host }
  const who = typeof found === 'string' ? 'another process' : `process ${found.pid} on ${printable(found.host)}`
  return new PrimitivesError('PRIM_LOCKED', `Cannot take lock "${printable(path)}": ${who} holds it`, {
    details,
    hint:
      state === 'alive'
        ? 'Wait until that process has ended, then try again'
        : 'Nobody can tell from here whether that process still runs: when it has ended, delete the lock file',
  })
}

function heldPath(path: string, token: string): string {
  return `${path}.${token}.held`
}

/** Creates the lock file with its whole content in one step; `undefined` when there is one already. */
async function tryCreate(place: Place): Promise<Lock | undefined> {
  const { path, fs, take } = place
  if (await isThere(place)) return undefined // saves the files below while waiting
  const token = randomBytes(12).toString('hex')
  const heldFile = heldPath(path, token)
  const system = await takeOwn(place, heldFile)
  if (system === 'again') return undefined
  let created = false
  try {
    const holder = thisHolder(token, system !== undefined)
    created = await createHolderFile(path, holder, fs)
    return created ? heldLock({ path, fs, take }, holder, system) : undefined
  } finally {
    if (!created) await giveUp(heldFile, system, fs)
  }
}

async function isThere({ path, fs }: Place): Promise<boolean> {
  return await fs.lstat(path).then(
    () => true,
    (error: unknown) => {
      if (isMissing(error)) return false
      throw error
    },
  )
}

/** The system's lock of a new file; `undefined` where there are none, `again` when a sweep got in between. */
async function takeOwn({ fs, take }: Place, heldFile: string): Promise<SystemLock | undefined | 'again'> {
  const system = await take(heldFile)
  if (system === 'held' || system === 'not-held') return 'again'
  if (system === 'unsupported') {
    await fs.rm(heldFile, { force: true })
    return undefined
  }
  try {
    await fs.lstat(heldFile)
    return system
  } catch (error) {
    system.release()
    if (isMissing(error)) return 'again' // removed as an orphan before it was locked: others would think us dead
    throw error
  }
}

async function giveUp(heldFile: string, system: SystemLock | undefined, fs: FileSystem): Promise<void> {
  if (system === undefined) return
  system.release()
  await fs.rm(heldFile, { force: true }).catch(() => undefined) // an empty file that the next take-over sweeps up
}

function heldLock(place: Place, mine: LockHolder, system: SystemLock | undefined): Lock {
  const { path, fs } = place
  let held = true
  const release = async (): Promise<void> => {
    if (!held) return
    held = false
    try {
      const found = await readHolder(place)
      if (typeof found !== 'string' && found.token === mine.token) await fs.rm(path, { force: true })
    } finally {
      // After the lock file: a process that still sees that file sees its holder alive. Windows removes closed files
      // only.
      await giveUp(heldPath(path, mine.token), system, fs)
    }
  }
  return { path, kind: system === undefined ? 'process-id' : 'system', release, [Symbol.asyncDispose]: release }
}

async function createHolderFile(path: string, mine: LockHolder, fs: FileSystem): Promise<boolean> {
  const content = new TextEncoder().encode(JSON.stringify(mine))
  const temporary = `${path}.${mine.token}.tmp`
  const handle = await openNew(temporary, fs)
  try {
    await writeAndClose(handle, content)
    await fs.link(temporary, path)
    return true
  } catch (error) {
    if (systemErrorCode(error) === 'EEXIST') return false
    if (!NO_HARD_LINKS.includes(systemErrorCode(error) ?? '')) throw error
    return await createWithoutLinks(path, content, fs)
  } finally {
    await fs.rm(temporary, { force: true })
  }
}

async function createWithoutLinks(path: string, content: Uint8Array, fs: FileSystem): Promise<boolean> {
  try {
    await writeAndClose(await openNew(path, fs), content)
    return true
  } catch (error) {
    if (systemErrorCode(error) === 'EEXIST') return false
    throw error
  }
}

/**
 * Readable by all, so that another account of the machine can see whether the holder lives; nothing in it is secret.
 */
async function openNew(path: string, fs: FileSystem): Promise<FileHandle> {
  return await fs.open(path, 'wx', 0o644)
}

async function writeAndClose(handle: FileHandle, content: Uint8Array): Promise<void> {
  try {
    await handle.writeFile(content)
  } finally {
    await handle.close()
  }
}

async function readHolder({ path, fs }: Place): Promise<Found> {
  try {
    return parseHolder(await fs.readFile(path)) ?? 'unreadable'
  } catch (error) {
    if (isMissing(error)) return 'gone'
    throw error
  }
}

/** Whether the holder lives; with `remove`, `dead` also means that its files are gone or are being removed. */
async function stateOf(place: Place, found: Exclude<Found, 'gone'>, remove: boolean): Promise<HolderState> {
  if (found === 'unreadable') {
    const state = await stateByAge(place, found, UNREADABLE_GRACE_MS, remove)
    return state === 'unknown' ? 'alive' : state
  }
  if (found.lock !== 'system') return await stateWithoutSystemLock(place, found, remove)
  const heldFile = heldPath(place.path, found.token)
  // To look is not to leave a file behind.
  if (!remove && !(await isThere({ ...place, path: heldFile }))) return 'dead'
  const attempt = await place.take(heldFile)
  if (attempt === 'held') return 'alive'
  if (attempt === 'unsupported') return await stateWithoutSystemLock(place, found, remove)
  return await settleFree(place, found, attempt, remove)
}

async function stateWithoutSystemLock(place: Place, found: LockHolder, remove: boolean): Promise<HolderState> {
  const state = stateByPid(found)
  if (state === 'unknown') return await stateByAge(place, found, UNKNOWN_GRACE_MS, remove)
  if (state === 'dead' && remove) await removeGuarded(place, found)
  return state
}

/** The system's lock of the holder is free, and ours now unless this user may only read it. */
async function settleFree(
  place: Place,
  found: LockHolder,
  attempt: SystemLock | 'not-held',
  remove: boolean,
): Promise<HolderState> {
  const { path, fs } = place
  const heldFile = heldPath(path, found.token)
  let state: HolderState = 'unknown'
  try {
    if (await freeMeansDead(found, dirname(path), fs)) state = 'dead'
    if (state !== 'dead' || !remove) return state
    if (attempt === 'not-held') await removeGuarded(place, found)
    else await removeIfSame(place, found)
  } finally {
    if (attempt !== 'not-held') attempt.release()
    if (state === 'dead' && remove) await fs.rm(heldFile, { force: true })
  }
  return state
}

/** A file whose holder cannot be asked is believed for a while after it was written. */
async function stateByAge(place: Place, found: Found, graceMs: number, remove: boolean): Promise<HolderState> {
  const { path, fs } = place
  const mtimeMs = await fs.stat(path).then(
    (status) => status.mtimeMs,
    (error: unknown) => {
      if (isMissing(error)) return undefined
      throw error
    },
  )
  if (mtimeMs === undefined) return 'dead'
  if (Date.now() - mtimeMs < graceMs) return 'unknown'
  if (remove) await removeGuarded(place, found)
  return 'dead'
}

/**
 * Removes a lock file that no system lock guards: a lock of its own keeps two processes from removing it one after the
 * other.
 */
async function removeGuarded(place: Place, stale: Found): Promise<void> {
  const guard = await lockFile(`${place.path}.guard`, { fs: place.fs, takeSystemLock: place.take }).catch(
    (error: unknown) => {
      if (error instanceof PrimitivesError && error.code === 'PRIM_LOCKED') return undefined
      throw error
    },
  )
  if (guard === undefined) return void (await sleep(GUARD_POLL_MS)) // another process is at it
  try {
    await removeIfSame(place, stale)
  } finally {
    await guard.release()
  }
}

async function removeIfSame(place: Place, stale: Found): Promise<void> {
  const now = await readHolder(place)
  const same =
    typeof stale === 'string' || typeof now === 'string'
      ? now === stale && (await stateByAge(place, now, UNREADABLE_GRACE_MS, false)) === 'dead'
      : now.token === stale.token
  if (same) await place.fs.rm(place.path, { force: true })
}

/** Removes files of attempts that were killed half way. Only a holder does this, so there is one sweep at a time. */
async function removeOrphans({ path, fs, take }: Place): Promise<void> {
  const folder = dirname(path)
  const prefix = `${basename(path)}.`
  const names = await fs.readdir(folder).catch(() => []) // tidiness is not worth an error
  const mine = parseHolder(await fs.readFile(path).catch(() => new Uint8Array(0)))?.token
  for (const name of names) {
    if (!name.startsWith(prefix) || !ATTEMPT.test(name.slice(prefix.length))) continue
    if (mine !== undefined && name.includes(mine)) continue
    const file = join(folder, name)
    if (name.endsWith('.tmp')) {
      const age = await fs.stat(file).then(
        ({ mtimeMs }) => Date.now() - mtimeMs,
        () => 0,
      )
      if (age > UNREADABLE_GRACE_MS) await fs.rm(file, { force: true }).catch(() => undefined)
      continue
    }
    const attempt = await take(file)
    if (typeof attempt === 'string') continue
    // Removed while it is ours: an attempt that opened it before then finds its file gone and starts again.
    await fs.rm(file, { force: true }).catch(() => undefined)
    attempt.release()
  }
}

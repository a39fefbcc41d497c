import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { isRecord } from '../is-record.ts'
import { parseStrictJson } from '../json.ts'
import { systemErrorCode } from './file-system.ts'
import type { FileSystem } from './file-system.ts'

/** Who holds a lock, as written in the lock file. */
export interface LockHolder {
  readonly pid: number
  readonly host: string
  /**
   * Boot and start of the process in the system's own words, so that a reused pid is told apart; empty where unknown.
   */
  readonly started: string
  /** Random, one per acquisition. */
  readonly token: string
  /** `system`: the holder has the system's lock of `<path>.<token>.held`; else its pid is all there is to ask for. */
  readonly lock?: 'system' | undefined
  /** A digest of the machine's id; empty where unknown. */
  readonly machine?: string | undefined
}

/** What can be said of a holder. */
export type HolderState = 'alive' | 'dead' | 'unknown'

const TOKEN = /^[0-9a-f]{24}$/

/** The facts of this process. */
export function thisHolder(token: string, hasSystemLock: boolean): LockHolder {
  const facts = { pid: process.pid, host: hostname(), started: processStart(process.pid), token }
  return hasSystemLock ? { ...facts, lock: 'system', machine: machineDigest() } : facts
}

/** Reads the content of a lock file; `undefined` for one that is damaged or half written. */
export function parseHolder(bytes: Uint8Array): LockHolder | undefined {
  try {
    const value = parseStrictJson(bytes)
    if (!isRecord(value)) return undefined
    const { pid, host, started, token, lock, machine } = value
    if (!Number.isSafeInteger(pid) || typeof host !== 'string' || typeof started !== 'string') return undefined
    if (typeof token !== 'string' || !TOKEN.test(token)) return undefined
    const facts = { pid: Number(pid), host, started, token }
    return lock === 'system' ? { ...facts, lock, machine: typeof machine === 'string' ? machine : '' } : facts
  } catch {
    return undefined
  }
}

/**
 * Whether a holder without the system's lock lives: one of an earlier version, or on a file system without locks. The
 * pid answers for this host alone.
 */
export function stateByPid(holder: LockHolder): HolderState {
  if (holder.host !== hostname()) return 'unknown'
  try {
    process.kill(holder.pid, 0)
  } catch (error) {
    if (systemErrorCode(error) === 'ESRCH') return 'dead'
  }
  const started = processStart(holder.pid)
  return started === '' || holder.started === '' || started === holder.started ? 'alive' : 'dead'
}

/**
 * File systems that keep locks to one kernel although several may share the files: FUSE (virtiofs too), 9p, shares of
 * virtual machines.
 */
const LOCKS_STAY_LOCAL = new Set([0x65735546, 0x01021997, 0x786f4256, 0xbacbacbc])

/**
 * Whether a free system lock proves that its holder is dead. It does on a disk of this machine and on NFS and SMB,
 * whose servers keep the locks; a shared folder of a virtual machine proves it only for holders of the same kernel, or
 * of this machine before it was started again.
 */
export async function freeMeansDead(holder: LockHolder, folder: string, fs: FileSystem): Promise<boolean> {
  if (process.platform !== 'linux') return true
  const type = await fs.statfs(folder).then(
    (found) => found.type,
    () => 0, // the lock itself said that nobody holds it
  )
  if (!LOCKS_STAY_LOCAL.has(type)) return true
  const sameKernel = bootOf(holder.started) === bootOf(processStart(process.pid))
  return sameKernel || (holder.machine !== undefined && holder.machine !== '' && holder.machine === machineDigest())
}

function bootOf(started: string): string {
  return started.split('/')[0] ?? ''
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

/** The machine's id is confidential (machine-id(5)), so only a digest of it is written. */
function machineDigest(): string {
  try {
    const id = readFileSync('/etc/machine-id', 'utf8').trim()
    return id === '' ? '' : createHash('sha256').update(`keyturn lock ${id}`).digest('hex').slice(0, 32)
  } catch {
    return ''
  }
}

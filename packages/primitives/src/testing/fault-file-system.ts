import { nodeFileSystem } from '../node/file-system.ts'
import type { FileHandle, FileSystem, FileSystemOperation } from '../node/file-system.ts'

/** One call that went through a {@link FaultFileSystem}. */
export interface RecordedOperation {
  /** `open`, `rename` …; calls on an open file are `handle.write`, `handle.sync` … */
  readonly name: string
  readonly path: string
}

/** Which call fails, and how. */
export interface FaultPlan {
  /** Counted from 0 over all operations that `counts` accepts. */
  readonly at: number
  /**
   * `fail`: that call (and with `lasting` each later one) throws; `crash`: that call and everything after it throws
   * and changes nothing, as if the process had been killed; `short-write`: a write takes half of the bytes and reports
   * that.
   */
  readonly mode: 'fail' | 'crash' | 'short-write'
  /** System error code of the throw; default `EIO`. */
  readonly code?: string | undefined
  readonly lasting?: boolean | undefined
}

/** Options of {@link faultFileSystem}. */
export interface FaultFileSystemOptions {
  readonly plan?: FaultPlan | undefined
  /** Which operations are counted; default: those that change the disk. */
  readonly counts?: ((operation: RecordedOperation) => boolean) | undefined
  /** The file system underneath; default: the real disk. */
  readonly fs?: FileSystem | undefined
}

/** A file system that fails on command, for tests. */
export interface FaultFileSystem extends FileSystem {
  /** The counted operations so far. */
  readonly operations: readonly RecordedOperation[]
  /** Files that are open now; 0 after a correct run. */
  readonly openHandles: number
  /** Whether the planned fault has happened. */
  readonly fired: boolean
}

const CHANGING = new Set([
  'chmod',
  'copyFile',
  'link',
  'mkdir',
  'rename',
  'rm',
  'rmdir',
  'symlink',
  'unlink',
  'utimes',
  'handle.write',
  'handle.writev',
  'handle.writeFile',
  'handle.appendFile',
  'handle.sync',
  'handle.datasync',
  'handle.truncate',
])

/** Whether an operation changes the disk (an `open` that creates counts by its first write). */
export function changesDisk(operation: RecordedOperation): boolean {
  return CHANGING.has(operation.name)
}

class Faults {
  readonly operations: RecordedOperation[] = []
  openHandles = 0
  fired = false
  readonly #plan: FaultPlan | undefined
  readonly #counts: (operation: RecordedOperation) => boolean

  constructor(plan: FaultPlan | undefined, counts: (operation: RecordedOperation) => boolean) {
    this.#plan = plan
    this.#counts = counts
  }

  /** Throws if the plan says so. Returns whether a write is to be cut short. */
  meet(name: string, path: string): boolean {
    const plan = this.#plan
    if (plan?.mode === 'crash' && this.fired) throw systemError(plan, name, path)
    const operation = { name, path }
    if (!this.#counts(operation)) return false
    const index = this.operations.push(operation) - 1
    if (plan === undefined) return false
    if (index !== plan.at && !(plan.lasting === true && index > plan.at)) return false
    this.fired = true
    if (plan.mode === 'short-write') return name === 'handle.write'
    throw systemError(plan, name, path)
  }
}

function systemError(plan: FaultPlan, name: string, path: string): Error {
  const code = plan.code ?? (plan.mode === 'crash' ? 'ECRASH' : 'EIO')
  return Object.assign(new Error(`${code}: planned fault, ${name} '${path}'`), { code, syscall: name, path })
}

/**
 * Wraps a file system so that one chosen call fails, is cut short, or "kills" the process: run an operation for
 * `at` = 0, 1, 2 … until `fired` stays `false`, and check after each run that the old or the new state is whole.
 */
export function faultFileSystem(options: FaultFileSystemOptions = {}): FaultFileSystem {
  const { plan, counts = changesDisk, fs = nodeFileSystem } = options
  const faults = new Faults(plan, counts)
  return new Proxy(
    { ...fs },
    {
      get(target, key) {
        if (key === 'operations' || key === 'openHandles' || key === 'fired') return faults[key]
        if (key === 'open') return wrapOpen(target, faults)
        const real: unknown = Reflect.get(target, key)
        if (typeof real !== 'function') return real
        return async (...args: unknown[]) => {
          faults.meet(String(key), String(args[0]))
          return await Reflect.apply(real, target, args)
        }
      },
    },
  ) as FaultFileSystem // the proxy answers the three extra members above
}

function wrapOpen(target: FileSystem, faults: Faults): FileSystem['open'] {
  return async (path, flags, mode) => {
    faults.meet('open' satisfies FileSystemOperation, String(path))
    const handle = await target.open(path, flags, mode)
    faults.openHandles += 1
    return wrapHandle(handle, String(path), faults)
  }
}

function wrapHandle(handle: FileHandle, path: string, faults: Faults): FileHandle {
  return new Proxy(handle, {
    get(target, key) {
      const real: unknown = Reflect.get(target, key)
      if (typeof real !== 'function') return real
      return async (...args: unknown[]) => {
        if (key === 'close') faults.openHandles -= 1 // a killed process closes its files too
        else if (faults.meet(`handle.${String(key)}`, path)) args = cutShort(args)
        return await Reflect.apply(real, target, args)
      }
    },
  })
}

/** Halves the length of `write(bytes, offset, length, position)`. */
function cutShort(args: unknown[]): unknown[] {
  const [bytes, offset, length, position] = args
  return typeof length === 'number' && length > 1 ? [bytes, offset, Math.floor(length / 2), position] : args
}

import { wipe } from '@keyturn/primitives'
import { secretBytes, SlotKey } from '../keys.ts'

/** Copies bytes into memory that all threads see. */
export function shareBytes(bytes: Uint8Array): Uint8Array<SharedArrayBuffer> {
  const shared = new Uint8Array(new SharedArrayBuffer(bytes.length))
  shared.set(bytes)
  return shared
}

/** Numbers that all threads see. */
export function shareNumbers(values: ArrayLike<number>): Float64Array<SharedArrayBuffer> {
  const shared = new Float64Array(new SharedArrayBuffer(values.length * 8))
  shared.set(values)
  return shared
}

/** Paths that all threads see: their bytes one after the other, and where each starts. */
export function sharePaths(paths: readonly Uint8Array[]): {
  pathBytes: Uint8Array<SharedArrayBuffer>
  pathStarts: Float64Array<SharedArrayBuffer>
} {
  const pathStarts = new Float64Array(new SharedArrayBuffer((paths.length + 1) * 8))
  for (const [index, path] of paths.entries()) pathStarts[index + 1] = (pathStarts[index] as number) + path.length
  const pathBytes = new Uint8Array(new SharedArrayBuffer(pathStarts[paths.length] as number))
  for (const [index, path] of paths.entries()) pathBytes.set(path, pathStarts[index])
  return { pathBytes, pathStarts }
}

/** Secrets that all threads see: one copy, wiped by the thread that made it. */
export interface SharedSecrets {
  readonly numbers: readonly number[]
  readonly bytes: Uint8Array<SharedArrayBuffer>
}

const SECRET_BYTES = 32

/** Puts slot secrets where all threads see them. */
export function shareSecrets(secrets: ReadonlyMap<number, Uint8Array>): SharedSecrets {
  const bytes = new Uint8Array(new SharedArrayBuffer(secrets.size * SECRET_BYTES))
  for (const [index, secret] of [...secrets.values()].entries()) bytes.set(secret, index * SECRET_BYTES)
  return { numbers: [...secrets.keys()], bytes }
}

/** A thread's own prepared keys of shared secrets; it wipes them. */
export function slotKeys({ numbers, bytes }: SharedSecrets): Map<number, SlotKey> {
  const keys = new Map<number, SlotKey>()
  for (const [index, number] of numbers.entries()) {
    const secret = secretBytes(SECRET_BYTES)
    secret.set(bytes.subarray(index * SECRET_BYTES, (index + 1) * SECRET_BYTES))
    keys.set(number, new SlotKey(secret))
    wipe(secret)
  }
  return keys
}

/** Counters that all threads add to. */
export class SharedProgress {
  readonly #counts: BigInt64Array<SharedArrayBuffer>

  /** @param counts - Of another thread's progress; fresh when absent. */
  constructor(counts: BigInt64Array<SharedArrayBuffer> = new BigInt64Array(new SharedArrayBuffer(16))) {
    this.#counts = counts
  }

  /** What other threads are given. */
  get counts(): BigInt64Array<SharedArrayBuffer> {
    return this.#counts
  }

  /** Adds files and bytes that are done. */
  add(files: number, bytes: number): void {
    Atomics.add(this.#counts, 0, BigInt(files))
    Atomics.add(this.#counts, 1, BigInt(bytes))
  }

  /** Files done. */
  get files(): number {
    return Number(Atomics.load(this.#counts, 0))
  }

  /** Bytes done. */
  get bytes(): number {
    return Number(Atomics.load(this.#counts, 1))
  }
}

import { PrimitivesError, primitivesErrors, printable } from '@keyturn/primitives'
import { systemErrorCode } from '@keyturn/primitives/node'
import { M2pError, m2pErrors } from '../errors.ts'

/** The outcome of one step of a thread: there is more work, it has to wait for another thread, or all work is done. */
export type Turn = 'more' | 'blocked' | 'done'

/** A thread's share of a job, done step by step, so that the main thread can listen to signals in between. */
export interface Share<Result> {
  /** Does one unit of work. */
  turn(): Turn
  /** What this thread found. */
  result(): Result
  /** Releases what it holds, whatever happened. */
  close(): void
}

/** An error as it travels between threads. */
export interface PlainError {
  readonly name: string
  readonly code: string | undefined
  readonly message: string
  readonly details: Readonly<Record<string, string | number>>
}

/** Shared by all threads of a job: set to 1 when one of them failed or the caller gave up. */
export type StopFlag = Int32Array<SharedArrayBuffer>

/** A fresh stop flag. */
export function stopFlag(): StopFlag {
  return new Int32Array(new SharedArrayBuffer(4))
}

const DISK_FULL = new Set(['ENOSPC', 'EDQUOT', 'EFBIG'])

/** Makes an error plain. */
export function plainError(error: unknown): PlainError {
  if (error instanceof M2pError || error instanceof PrimitivesError) {
    return { name: error.name, code: error.code, message: error.message, details: error.details }
  }
  const { name, message } = error instanceof Error ? error : new Error(String(error))
  const errno = systemErrorCode(error)
  if (errno === undefined || !/^E[A-Z0-9]+$/.test(errno)) return { name, code: undefined, message, details: {} }
  const code = DISK_FULL.has(errno) ? 'PRIM_DISK_FULL' : 'PRIM_FILE'
  return { name: 'PrimitivesError', code, message: printable(message), details: { errno } }
}

/** Makes a plain error one of its class again. */
export function revivedError({ name, code, message, details }: PlainError): Error {
  if (name === 'M2pError' && code !== undefined && code in m2pErrors) {
    return new M2pError(code as keyof typeof m2pErrors, message, { details })
  }
  if (name === 'PrimitivesError' && code !== undefined && code in primitivesErrors) {
    return new PrimitivesError(code as keyof typeof primitivesErrors, message, { details })
  }
  return new Error(message)
}

/** What a worker answers. */
export type Answer = { readonly result: unknown } | { readonly error: PlainError }

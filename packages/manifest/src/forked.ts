import type { KeyturnError } from '@keyturn/primitives'
import type { Fork } from './trust-state.ts'

/** Thrown inside the verification when two valid documents contradict each other; never leaves the package. */
export class Forked extends Error {
  override readonly name = 'Forked'
  /** What the caller learns. */
  readonly refusal: KeyturnError
  /** What the state remembers. */
  readonly fork: Fork

  constructor(refusal: KeyturnError, fork: Fork) {
    super(refusal.message, { cause: refusal })
    this.refusal = refusal
    this.fork = fork
  }
}

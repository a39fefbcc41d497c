import type { DigestSeal } from './digest.ts'

/** A seal that anchors a place of another log: delegation, credential logs. */
export interface EventSeal {
  readonly i: string
  readonly s: string
  readonly d: string
}

/** A seal of the root of a Merkle tree of digests: {@link sealTree}. */
export interface RootSeal {
  readonly rd: string
}

/** What an author may put into `a`; a reader keeps other shapes as they are. */
export type Seal = DigestSeal | EventSeal | RootSeal

/** The seal by which a delegator approves an event of a delegate. */
export function eventSeal(prefix: string, sn: number, said: string): EventSeal {
  return { i: prefix, s: sn.toString(16), d: said }
}

import type { KeyState } from './key-state.ts'
import type { VerifiedEvent } from './log.ts'

/** A log that has passed every rule. */
export interface VerifiedLog {
  readonly prefix: string
  /** What holds after the last event. */
  readonly state: KeyState
  /** The accepted chain, index equal to sequence number; superseded interactions are not in it. */
  readonly events: readonly VerifiedEvent[]
  /** Interactions that a later rotation displaced. */
  readonly superseded: readonly VerifiedEvent[]
  /** What a lenient reader let pass, and what deserves a look. */
  readonly warnings: readonly string[]
  /** The state right after the event at a sequence number. */
  stateAt(sn: number): KeyState | undefined
  /** Verified witness signatures on an event, by place in the witness list in force for it. */
  witnessesOf(said: string): ReadonlyMap<number, Uint8Array>
}

import { parseCheckpoint } from './checkpoint.ts'
import type { Checkpoint } from './checkpoint.ts'
import { TlogError } from './errors.ts'
import { parseNote, verifyNote } from './note.ts'
import type { SignedNote } from './note.ts'
import { meetsQuorum } from './policy.ts'
import type { Policy, PolicyLog } from './policy.ts'
import { quoted } from './text.ts'

/** A witness that has signed a checkpoint. */
export interface WitnessedBy {
  /** Name in the policy. */
  readonly name: string
  /** When it signed, seconds since 1970, by its own clock. */
  readonly timestamp: number
}

/** A checkpoint of a log that a policy trusts, and who has seen it. */
export interface PolicyCheckpoint extends Checkpoint {
  readonly log: PolicyLog
  /** Witnesses of the policy whose signatures verified. */
  readonly witnesses: readonly WitnessedBy[]
  /** Whether they are enough. */
  readonly quorum: boolean
  /** The note it came in. */
  readonly note: SignedNote
}

/**
 * Verifies a checkpoint by the log and witness keys of a policy, and says whether the quorum is met.
 *
 * @throws {@link TlogError} `TLOG_NOTE`, `TLOG_LIMIT`, `TLOG_CHECKPOINT`, `TLOG_SIGNATURE`. Not for a missing quorum:
 *   {@link verifyProof} throws for that.
 */
export function checkCheckpoint(bytes: Uint8Array, policy: Policy): PolicyCheckpoint {
  const note = parseNote(bytes)
  const logs = policy.logs.map(({ key }) => key)
  const verified = verifyNote(note, [...logs, ...policy.witnesses.map(({ key }) => key)])
  const checkpoint = parseCheckpoint(note.text)
  const log = policy.logs.find(
    ({ key }) => key.name === checkpoint.origin && verified.some((signature) => signature.key === key),
  )
  if (log === undefined) {
    throw new TlogError(
      'TLOG_SIGNATURE',
      `Checkpoint of ${quoted(checkpoint.origin)} is not signed by a log of the policy`,
    )
  }
  const witnesses = policy.witnesses.flatMap(({ name, key }) => {
    const signature = verified.find((one) => one.key === key)
    return signature === undefined ? [] : [{ name, timestamp: signature.timestamp as number }]
  })
  const quorum = meetsQuorum(policy, new Set(witnesses.map(({ name }) => name)))
  return { ...checkpoint, log, witnesses, quorum, note }
}

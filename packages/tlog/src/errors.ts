import { KeyturnError } from '@keyturn/primitives'
import type { ErrorCatalogue, ErrorContext } from '@keyturn/primitives'

/** Every code of this package with its kind, its meaning and what to do about it. */
export const tlogErrors = {
  TLOG_CHECKPOINT: {
    kind: 'input',
    meaning: 'The text of a signed note is not a checkpoint: origin, size, root hash, or an empty extension line.',
    remedy: 'Fetch the checkpoint again; if it stays like this, the log is broken',
  },
  TLOG_CONFLICT: {
    kind: 'busy',
    meaning: 'A witness has already seen another size of this log than the request says.',
    remedy: 'Repeat the request with a proof from the size that the answer names',
  },
  TLOG_CONSISTENCY: {
    kind: 'auth',
    meaning: 'A newer tree of a log does not contain the older one: the log was rewritten or forked.',
    remedy: 'Keep both checkpoints as evidence, trust neither, and ask who runs the log',
  },
  TLOG_INCLUSION: {
    kind: 'auth',
    meaning: 'A proof does not lead from the entry to the root hash of the checkpoint.',
    remedy: 'Fetch the proof that belongs to this entry; if there is none, the entry is not in the log',
  },
  TLOG_LIMIT: {
    kind: 'input',
    meaning: 'A note, proof, policy, tile or entry is larger than its limit.',
    remedy: 'Refuse the input; nothing that follows the format in good faith is that large',
  },
  TLOG_NOTE: {
    kind: 'input',
    meaning: 'Bytes are not a signed note: text, empty line, signature lines.',
    remedy: 'Fetch the note again; it may be cut off or changed on the way',
  },
  TLOG_POLICY: {
    kind: 'input',
    meaning: 'A policy file is malformed: a line, a name, a key, a group or its quorum.',
    remedy: 'Fix the line that the message names',
  },
  TLOG_PROOF: {
    kind: 'input',
    meaning: 'A proof file or the request to a witness is malformed.',
    remedy: 'Fetch the proof again; it may be cut off or changed on the way',
  },
  TLOG_QUORUM: {
    kind: 'auth',
    meaning: 'Too few of the witnesses that the policy names have signed the checkpoint.',
    remedy: 'Wait until more witnesses have signed, and fetch the proof again',
  },
  TLOG_SIGNATURE: {
    kind: 'auth',
    meaning: 'A note has no signature by a known key, or one by a known key that does not verify.',
    remedy: 'Compare the key with the one that its owner publishes',
  },
  TLOG_TILE: {
    kind: 'input',
    meaning: 'A tile or a bundle of entries has another length or content than its name says.',
    remedy: 'Fetch it again, from another mirror if there is one',
  },
  TLOG_UNAVAILABLE: {
    kind: 'unavailable',
    meaning: 'A log or a witness cannot be reached, or does not answer as one does.',
    remedy: 'Try again later',
  },
  TLOG_UNKNOWN_LOG: {
    kind: 'policy',
    meaning: 'A witness was asked to sign a checkpoint of a log that it does not watch.',
    remedy: 'Ask who runs the witness to add the key of the log',
  },
  TLOG_VKEY: {
    kind: 'input',
    meaning: 'A verifier key is malformed, of a type that is not supported, or its id does not fit the key.',
    remedy: 'Copy the key again from where its owner publishes it',
  },
} as const satisfies ErrorCatalogue<string>

/** A code of this package. */
export type TlogErrorCode = keyof typeof tlogErrors

/** Thrown for bad input or bad state. Branch on `code`. */
export class TlogError extends KeyturnError<TlogErrorCode> {
  override readonly name = 'TlogError'

  /**
   * @param code - What is wrong.
   * @param message - What failed, where, what was found and what was expected.
   * @param context - Details, hint and cause.
   */
  constructor(code: TlogErrorCode, message: string, context?: ErrorContext) {
    super(tlogErrors, code, message, context)
  }
}

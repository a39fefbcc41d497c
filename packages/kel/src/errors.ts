import { KeyturnError } from '@keyturn/primitives'
import type { ErrorCatalogue, ErrorContext } from '@keyturn/primitives'

/** Every code of this package with its kind, its meaning and what to do about it. */
export const kelErrors = {
  KEL_ABANDONED: {
    kind: 'policy',
    meaning: 'The identity was abandoned: its last rotation promised no next key, so no event can follow.',
    remedy: 'Create a new identity and publish its pin',
  },
  KEL_ATTESTATION: {
    kind: 'policy',
    meaning: 'A device attestation was revoked, or a rotation made it void.',
    remedy: 'Link the device again: keyturn device link',
  },
  KEL_CESR: {
    kind: 'input',
    meaning: 'A CESR value has an unknown code, a wrong length, non-zero pad bits or foreign characters.',
    remedy: 'Export the log again from its source, as a plain CESR stream',
  },
  KEL_CONFLICT: {
    kind: 'busy',
    meaning: 'Another process appended to this log first; nothing was written.',
    remedy: 'Read the log again and repeat the command if it is still wanted',
  },
  KEL_CORRUPT: {
    kind: 'input',
    meaning: 'A stored log is damaged before its last event, so it is opened for reading only.',
    remedy: 'Restore the log from a copy: keyturn id import FILE.cesr',
  },
  KEL_DELEGATION: {
    kind: 'auth',
    meaning: 'A delegated event is not sealed in the log of its delegator, or delegation is not allowed here.',
    remedy: "Ask the delegator to seal the event, and supply the delegator's log",
  },
  KEL_DUPLICITY: {
    kind: 'policy',
    meaning: 'Two different events with valid signatures claim the same place in the log.',
    remedy: 'Keep both as evidence; trust neither branch until its owner has resolved it by a rotation',
  },
  KEL_ESCROW_FULL: {
    kind: 'policy',
    meaning: 'Too many events wait for something that has not arrived.',
    remedy: 'Send the log in order, or fetch what is missing first',
  },
  KEL_FROZEN: {
    kind: 'policy',
    meaning: 'This identity is frozen on this machine: it signs nothing until it is unfrozen.',
    remedy: 'Wait until the freeze ends or run: keyturn emergency unfreeze',
  },
  KEL_IO: {
    kind: 'io',
    meaning: 'A log could not be read or written; what was there before is unchanged.',
    remedy: 'Check the disk: it may be full, failing or without permission',
  },
  KEL_KEY: {
    kind: 'auth',
    meaning: 'A public key is of low order, not canonical, or of a curve that is not supported.',
    remedy: 'Use Ed25519 keys made by a sound generator',
  },
  KEL_KEY_REUSED: {
    kind: 'policy',
    meaning: 'An event promises a next key that is or was in force: anyone who got that key could rotate.',
    remedy: 'Make a new key that has never signed anything, and promise that one',
  },
  KEL_LIMIT: {
    kind: 'input',
    meaning: 'A log, an event or one of its lists is larger than the limit.',
    remedy: 'Raise the limit of the call if the source is trusted',
  },
  KEL_LOCK: {
    kind: 'busy',
    meaning: 'Another process is writing this log.',
    remedy: 'Wait until it is done and repeat the command',
  },
  KEL_LOG_MISSING: {
    kind: 'input',
    meaning: 'There is no log of this identity in the place that was read, and nothing there is damaged.',
    remedy: 'Check the prefix and the place, or fetch the refs below refs/keri/ first',
  },
  KEL_MISFIT: {
    kind: 'policy',
    meaning: 'An event for one of our own identities arrived from elsewhere; only this machine may append to it.',
    remedy: 'If you made the event on another machine, import it: keyturn id import',
  },
  KEL_NEXT_COMMITMENT: {
    kind: 'auth',
    meaning: 'A rotation does not reveal enough of the keys that the previous event promised.',
    remedy: 'Sign with the next keys that were made at the last inception or rotation',
  },
  KEL_PARSE: {
    kind: 'input',
    meaning: 'A message is not KERI v1 JSON in compact form with the size it states.',
    remedy: 'Pass the bytes on exactly as they were received; never serialize an event again',
  },
  KEL_PIN: {
    kind: 'input',
    meaning: 'A pin is not of the form did:keri:<prefix>?sn=<number>&said=<SAID>.',
    remedy: 'Copy the pin as printed by: keyturn release trust',
  },
  KEL_PIN_MISMATCH: {
    kind: 'auth',
    meaning: 'The log does not contain the event that the pin names.',
    remedy: 'Fetch the newest log; if the error remains, do not trust this log',
  },
  KEL_POSITION_UNPROVEN: {
    kind: 'no',
    meaning: 'The signature is right, but nothing proves that it was made while its key was in force.',
    remedy: 'Seal the artefact or the branch tip in the log, or allow unproven positions with allowUnproven',
  },
  KEL_PREFIX: {
    kind: 'auth',
    meaning: 'The log belongs to another identity than the one asked for.',
    remedy: 'Compare the prefix with the pin you were given',
  },
  KEL_PREV: {
    kind: 'auth',
    meaning: 'An event does not name the previous event by its SAID.',
    remedy: 'Fetch the log again; if it happens again, the log was tampered with',
  },
  KEL_RECOVERED: {
    kind: 'input',
    meaning: 'A half-written last event was cut off; the log is whole again up to the event before.',
    remedy: 'Repeat the command that was interrupted',
  },
  KEL_ROLLBACK: {
    kind: 'policy',
    meaning: 'A shorter log was offered than the one already seen.',
    remedy: 'Keep the longer log; ask the source why it serves an older one',
  },
  KEL_SAID: {
    kind: 'auth',
    meaning: 'An event does not hash to the identifier it carries.',
    remedy: 'Fetch the log again; if it happens again, the log was tampered with',
  },
  KEL_SCHEMA: {
    kind: 'input',
    meaning: 'An event has a missing, extra, misplaced or mistyped field.',
    remedy: 'Make the event with a KERI v1 library',
  },
  KEL_SEQ: {
    kind: 'input',
    meaning: 'A sequence number is malformed, or the event does not belong at this place of the log.',
    remedy: 'Send the events in order, from the inception on',
  },
  KEL_SIGNATURE: {
    kind: 'auth',
    meaning: 'The signatures on an event or a statement do not verify or do not reach the threshold.',
    remedy: 'Sign with the keys that are in force at this place',
  },
  KEL_STATEMENT: {
    kind: 'input',
    meaning: 'A signed statement is malformed, or is about another file than the one given.',
    remedy: 'Sign the file again: keyturn sign FILE',
  },
  KEL_SUPERSEDED_KEY: {
    kind: 'auth',
    meaning: 'The signature was made by a key that was no longer in force at its place.',
    remedy: 'Sign again with the current key',
  },
  KEL_THRESHOLD: {
    kind: 'input',
    meaning: 'A signing threshold cannot be met by its keys, or is malformed.',
    remedy: 'Use a number from 1 to the number of keys, or weights that add up to at least 1',
  },
  KEL_TRAIT: {
    kind: 'policy',
    meaning: 'A configuration trait forbids this event, for instance an interaction on an establishment-only identity.',
    remedy: 'Put the seal into a rotation instead',
  },
  KEL_UNAVAILABLE: {
    kind: 'unavailable',
    meaning: 'A witness cannot be reached, or does not answer as a witness does.',
    remedy: 'Try again later, or ask other witnesses: keyturn id witness collect',
  },
  KEL_UNSIGNED: {
    kind: 'auth',
    meaning: 'An event carries no signature of its controller.',
    remedy: 'Export the log together with its attachments',
  },
  KEL_VERSION: {
    kind: 'input',
    meaning: 'The event is of a KERI version or serialisation that is recognised but not supported.',
    remedy: 'Export the log as KERI version 1 JSON',
  },
  KEL_WITNESS: {
    kind: 'auth',
    meaning: 'A witness list or threshold is wrong, or too few witnesses have signed.',
    remedy: 'Collect the missing receipts: keyturn id witness collect',
  },
} as const satisfies ErrorCatalogue<string>

/** Stable code of a {@link KelError}. */
export type KelErrorCode = keyof typeof kelErrors

/** Thrown for bad input, bad state or refused events. Branch on `code`; `details.rule` names the rule of validation. */
export class KelError extends KeyturnError<KelErrorCode> {
  override readonly name = 'KelError'

  /**
   * @param code - Stable code.
   * @param message - For people: what failed, where, what was found and what was wanted.
   * @param context - Details, hint and cause.
   */
  constructor(code: KelErrorCode, message: string, context?: ErrorContext) {
    super(kelErrors, code, message, context)
  }
}

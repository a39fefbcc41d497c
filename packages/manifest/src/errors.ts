import { KeyturnError } from '@keyturn/primitives'
import type { ErrorCatalogue, ErrorContext } from '@keyturn/primitives'

/** Every code of this package: `TRUST_` for root, log and role document, `MAN_` for head and manifest. */
export const manifestErrors = {
  TRUST_PIN: {
    kind: 'auth',
    meaning: 'The key event log does not contain the event that the pin names.',
    remedy: 'Compare the pin with the one the publisher prints: keyturn release trust',
  },
  TRUST_MISSING: {
    kind: 'unavailable',
    meaning: 'The key event log could not be fetched, so the signers are unknown.',
    remedy: 'Try again later or from another mirror; what is installed keeps working',
  },
  TRUST_LOG: {
    kind: 'input',
    meaning: 'The key event log cannot be the root of a release: delegated, or an event seals no role document.',
    remedy: 'Make the release identity with keyturn init and change roles with keyturn roles seal',
  },
  TRUST_ROLES: {
    kind: 'auth',
    meaning: 'The role document is missing, malformed, breaks a rule, or is not the one the log seals.',
    remedy: 'Fetch roles/<N>.json again; the publisher makes the next one with keyturn roles propose',
  },
  TRUST_ROLLBACK: {
    kind: 'policy',
    meaning: 'The offered role document is older, or its epoch lower, than the one already accepted.',
    remedy: 'Fetch the newest documents; ask the source why it serves older ones',
  },
  TRUST_EXPIRED: {
    kind: 'policy',
    meaning: 'The role document in force has expired.',
    remedy: 'The publisher seals a new one: keyturn roles propose, then keyturn roles seal',
  },
  TRUST_CLOCK: {
    kind: 'policy',
    meaning: 'The role document says it was issued in the future.',
    remedy: 'Set the clock of this machine; if it is right, the publisher has to set theirs',
  },
  TRUST_INVALID: {
    kind: 'input',
    meaning:
      'A trust setting cannot be used: a key that is weak or malformed, an empty list, a threshold out of range.',
    remedy: 'Fix the --trust value or the list of pinned keys',
  },
  TRUST_LOST: {
    kind: 'policy',
    meaning: 'The installed release no longer has enough signatures: its keys were revoked.',
    remedy: 'Go online once, so that the renewed signatures or a newer release can be fetched',
  },
  TRUST_FORKED: {
    kind: 'policy',
    meaning: 'Two valid documents contradicted each other earlier, and no rotation above them has settled it yet.',
    remedy: 'Keep the evidence and tell the publisher; a rotation or a raised epoch ends this state',
  },
  TRUST_STATE: {
    kind: 'input',
    meaning: 'The stored trust state is malformed.',
    remedy: 'Delete trust.json: it is rebuilt from the signed documents stored beside it',
  },
  MAN_MISSING: {
    kind: 'unavailable',
    meaning: 'The head, the manifest or its signatures could not be fetched.',
    remedy: 'Try again later or from another mirror; what is installed keeps working',
  },
  MAN_SIGNATURE: {
    kind: 'auth',
    meaning: 'No signature of the role matches these literal bytes.',
    remedy: 'Fetch the document again; if the error remains, it was tampered with or replaced',
  },
  MAN_SIGNATURE_FORMAT: {
    kind: 'input',
    meaning: 'A signature file or envelope is malformed.',
    remedy: 'Fetch it again; the publisher signs again with keyturn release sign',
  },
  MAN_KEY_UNKNOWN: {
    kind: 'auth',
    meaning: 'The document is signed, but not by a key that may sign it.',
    remedy: 'The publisher lists the key in the next role document, or signs with one that is listed',
  },
  MAN_KEY_RETIRED: {
    kind: 'policy',
    meaning: 'The document is signed by a key that was revoked or has expired.',
    remedy: 'The publisher signs the same bytes again with a key in force: keyturn release sign',
  },
  MAN_KEY_KILLED: {
    kind: 'policy',
    meaning: 'The document is signed by a key that has ended itself: its holder said that it is stolen.',
    remedy: 'The publisher puts another key in force: keyturn rotate release; what is installed keeps working',
  },
  MAN_KILL: {
    kind: 'input',
    meaning: 'A kill notice is malformed, for another product, or not signed by the key that it ends.',
    remedy: 'Make it again: keyturn release kill',
  },
  MAN_LOG_ENTRY: {
    kind: 'input',
    meaning: 'An entry of the log of releases is not of the form that this version knows.',
    remedy: 'Update the program that reads the log; if it is up to date, ask who runs the log',
  },
  MAN_UNWITNESSED: {
    kind: 'policy',
    meaning:
      'The release is not shown to be in the public log that the role document names, and the grace time is over.',
    remedy: 'Wait: what is installed keeps working. The publisher sees on the server which witnesses have signed',
  },
  MAN_THRESHOLD: {
    kind: 'auth',
    meaning: 'Fewer distinct keys of the role signed than its threshold requires, or one key signed twice.',
    remedy: 'Collect the missing signatures with keyturn release sign',
  },
  MAN_TYPE: {
    kind: 'auth',
    meaning: 'A signed document is not of the expected kind.',
    remedy: 'Check that the server serves each document under its own name',
  },
  MAN_JSON: {
    kind: 'input',
    meaning: 'A document is not strict JSON: syntax, duplicate key, depth, fraction, lone surrogate or forbidden key.',
    remedy: 'Write it with keyturn release prepare, and never write it again after signing',
  },
  MAN_SCHEMA: {
    kind: 'input',
    meaning: 'A field is missing, has the wrong type, or contradicts another field.',
    remedy: 'Fix the field that the message names and sign again',
  },
  MAN_LIMIT: {
    kind: 'input',
    meaning: 'A document or one of its lists is larger than the limit.',
    remedy: 'Split the release, or remove what it does not need',
  },
  MAN_PATH: {
    kind: 'input',
    meaning: 'A path could leave the install folder, cannot exist on every platform, or is reserved.',
    remedy: 'Rename the file in the release tree',
  },
  MAN_PATH_COLLISION: {
    kind: 'input',
    meaning: 'Two paths are the same file on systems that ignore case or accents, or a file is also a folder.',
    remedy: 'Rename one of the two in the release tree',
  },
  MAN_URL: {
    kind: 'input',
    meaning: 'A mirror address is not a plain http or https folder.',
    remedy: 'Give mirrors as https://host/path/ without user, query or fragment',
  },
  MAN_VERSION: {
    kind: 'input',
    meaning:
      'The name of a release has a character or a length that it may not have, or is not newer where names are ordered.',
    remedy:
      'Use 1 to 64 letters, digits and . + _ -, a letter or digit first. Only a manifest of schema 1 needs YYYY.MM.DD-N',
  },
  MAN_UNKNOWN_FORMAT: {
    kind: 'policy',
    meaning: 'The release is of a format this reader does not know.',
    remedy: 'Update the launcher',
  },
  MAN_CRITICAL: {
    kind: 'policy',
    meaning: 'A release or a role document says that a field must be understood, and this reader does not know it.',
    remedy: 'Update the launcher',
  },
  MAN_LAUNCHER_TOO_OLD: {
    kind: 'policy',
    meaning: 'The release needs a newer launcher.',
    remedy: 'Update the launcher',
  },
  MAN_DOWNGRADE: {
    kind: 'policy',
    meaning: 'The offered manifest has an older schema than this channel already had.',
    remedy: 'Publish with schema 2; there is no way back',
  },
  MAN_APP_MISMATCH: {
    kind: 'policy',
    meaning: 'The document has valid signatures, but for another product or channel.',
    remedy: 'Check the product and channel that are configured here and on the server',
  },
  MAN_ROLLBACK: {
    kind: 'policy',
    meaning: 'The offered sequence or version is lower than the one already accepted.',
    remedy: 'To go back on purpose, publish older files under a new sequence: keyturn release rollback',
  },
  MAN_EQUIVOCATION: {
    kind: 'policy',
    meaning: 'Two different documents with valid signatures have the same sequence.',
    remedy: 'Keep both as evidence and tell the publisher; a rotation or a raised epoch settles it',
  },
  MAN_VERSION_JUMP: {
    kind: 'policy',
    meaning: 'A sequence or epoch is further ahead than any honest publisher would get.',
    remedy: 'The publisher raises the epoch in the next role document, which resets sequences',
  },
  MAN_EXPIRED: {
    kind: 'policy',
    meaning: 'The head or the manifest has expired.',
    remedy: 'The publisher renews the offer with keyturn release renew; what is installed keeps working',
  },
  MAN_CLOCK: {
    kind: 'policy',
    meaning: 'A document says it was issued in the future, or the clock here is behind what was already seen.',
    remedy: 'Set the clock of this machine; if it is right, the publisher has to set theirs',
  },
  MAN_PIN: {
    kind: 'auth',
    meaning:
      'Documents with valid signatures do not belong together: length, hash, version, sequence or place in the log ' +
      'differ.',
    remedy: 'Fetch all of them again from one source',
  },
  MAN_REVOKED: {
    kind: 'policy',
    meaning: 'The release on offer was withdrawn by the publisher.',
    remedy: 'Wait for the next one',
  },
  MAN_KEY_REVOKED: {
    kind: 'policy',
    meaning: 'The release has archives under a revoked content key.',
    remedy: 'Rotate the content key and publish: keyturn rotate content',
  },
  MAN_KEY_ID_REUSED: {
    kind: 'policy',
    meaning: 'A content key id was used again with another verifier or commitment.',
    remedy: 'Give the new content key a new key_id',
  },
  MAN_FILE: {
    kind: 'auth',
    meaning: 'A downloaded file is not one that the signed release names, or its bytes differ.',
    remedy: 'Download it again, from another place',
  },
  MAN_INDEX: {
    kind: 'input',
    meaning: 'A chunk index is malformed or belongs to another blob.',
    remedy: 'Download the whole file instead; the publisher prepares the release again',
  },
} as const satisfies ErrorCatalogue<string>

/** A code of this package. */
export type ManifestErrorCode = keyof typeof manifestErrors

/** Thrown, or handed back inside a refusal, for bad input or broken trust. Branch on `code`. */
export class ManifestError extends KeyturnError<ManifestErrorCode> {
  override readonly name = 'ManifestError'

  /**
   * @param code - What is wrong.
   * @param message - What failed, where, what was found and what was wanted.
   * @param context - Details, hint and cause.
   */
  constructor(code: ManifestErrorCode, message: string, context?: ErrorContext) {
    super(manifestErrors, code, message, context)
  }
}

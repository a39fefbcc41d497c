import { KeyturnError } from '@keyturn/primitives'
import type { ErrorCatalogue, ErrorContext } from '@keyturn/primitives'

/** The codes of this package. */
export const keystoreErrors = {
  KEY_PASSPHRASE: {
    kind: 'auth',
    meaning: 'The passphrase does not open the keystore.',
    remedy: 'Try again; if the passphrase is lost, only a backup from before it was changed helps.',
  },
  KEY_PERMISSION: {
    kind: 'policy',
    meaning: 'The keystore file may be read or written by others.',
    remedy: 'Remove the access of group and others: chmod 600 FILE.',
  },
  KEY_NOT_FOUND: {
    kind: 'usage',
    meaning: 'There is no keystore at this path.',
    remedy: 'Check the path or the home, or create one with "keyturn init".',
  },
  KEY_EXISTS: {
    kind: 'usage',
    meaning: 'There is a keystore at this path already.',
    remedy: 'Choose another path, or open the existing one.',
  },
  KEY_DAMAGED: {
    kind: 'input',
    meaning: 'The keystore file is cut or changed, and so is the generation before it.',
    remedy: 'Restore the home from a backup with "keyturn restore".',
  },
  KEY_FORMAT: {
    kind: 'input',
    meaning: 'The file is not a keystore or backup, or it was written by a later version.',
    remedy: 'Check the path, or use the version that wrote it.',
  },
  KEY_ALIAS_UNKNOWN: {
    kind: 'usage',
    meaning: 'The keystore has no secret with this name.',
    remedy: 'List the aliases and choose one of them.',
  },
  KEY_ALIAS_EXISTS: {
    kind: 'usage',
    meaning: 'The keystore already has a secret with this name.',
    remedy: 'Choose another alias, or replace the secret on purpose.',
  },
  KEY_ALIAS: {
    kind: 'usage',
    meaning: 'An alias is not 1 to 128 of the characters a-z, A-Z, 0-9, dot, dash, underscore, slash, colon and @.',
    remedy: 'Choose an alias in that form that starts with a letter, a digit or @.',
  },
  KEY_ID_REUSED: {
    kind: 'policy',
    meaning: 'The alias names a key that may exist only once, and it was given to another secret before.',
    remedy: 'Use a new identifier; a used one is never used again, even after its key was removed.',
  },
  KEY_SECRET: {
    kind: 'input',
    meaning: 'A secret is empty, too large or of an unknown kind.',
    remedy: 'Give 1 byte to 1 MiB and a kind of lower-case words joined by dashes.',
  },
  KEY_LOCKED: {
    kind: 'busy',
    meaning: 'Another process is changing the keystore.',
    remedy: 'Wait until it has ended and try again.',
  },
  KEY_CHANGED: {
    kind: 'busy',
    meaning: 'Another process has changed the passphrase since this one opened the keystore.',
    remedy: 'Open the keystore again with the new passphrase.',
  },
  KEY_IO: {
    kind: 'io',
    meaning: 'The keystore could not be read or written; what was there before is untouched.',
    remedy: 'See the cause: space, permissions, a missing folder.',
  },
  KEY_AGE: {
    kind: 'auth',
    meaning: 'A file of age does not open: other keys or another passphrase, a changed file, or not of age.',
    remedy: 'Give an identity that the file was made for, or its passphrase.',
  },
  KEY_AGE_MISSING: {
    kind: 'unavailable',
    meaning: 'The optional package age-encryption is not installed.',
    remedy: 'Install it: npm install age-encryption.',
  },
  KEY_KEYCHAIN_FORGOT: {
    kind: 'unavailable',
    meaning: 'The keychain of this machine does not hold the secret that this keystore was made with.',
    remedy: 'Restore the keychain of this user, or a backup of the keystore; a fresh secret would open nothing.',
  },
  KEY_KEYCHAIN: {
    kind: 'unavailable',
    meaning: 'This machine has no keychain that can be used, or it refused.',
    remedy: 'Give the passphrase by prompt, file or descriptor.',
  },
} as const satisfies ErrorCatalogue<string>

/** A code of this package. */
export type KeystoreErrorCode = keyof typeof keystoreErrors

/** Thrown for bad input or bad state. Branch on `code`. */
export class KeystoreError extends KeyturnError<KeystoreErrorCode> {
  override readonly name = 'KeystoreError'

  /**
   * @param code - What is wrong.
   * @param message - What failed, where, what was found and what was wanted.
   * @param context - Details, hint and cause.
   */
  constructor(code: KeystoreErrorCode, message: string, context?: ErrorContext) {
    super(keystoreErrors, code, message, context)
  }
}

import { KeyturnError } from '@keyturn/primitives'
import type { ErrorCatalogue, ErrorContext } from '@keyturn/primitives'

/** The codes of this package. They are older than it: the names say where they were first thrown. */
export const publisherErrors = {
  CLI_HOME_MISSING: {
    kind: 'usage',
    meaning: 'The home folder has no keys yet.',
    remedy: 'Run "keyturn init", or point --home at the folder that has them.',
  },
  CLI_HOME_EXISTS: {
    kind: 'usage',
    meaning: 'The home folder already has keys; they are never overwritten.',
    remedy: 'Choose another folder with --home.',
  },
  CLI_HOME_FORMAT: {
    kind: 'input',
    meaning: 'The description of the home folder (home.json) is damaged or of a newer version.',
    remedy: 'Restore the home from a backup, or use the newer program.',
  },
  CLI_TURN_PENDING: {
    kind: 'busy',
    meaning: 'A rotation was interrupted and has to be finished before another one starts.',
    remedy:
      'Run the same "keyturn rotate" command again: it continues where it stopped. --abandon gives it up while nothing is in force.',
  },
  CLI_TURN_UNREADY: {
    kind: 'usage',
    meaning: 'Something that the rotation needs is missing: the next key, a release to sign again, or the server.',
    remedy: 'See the message; "keyturn doctor" names everything that is missing.',
  },
  CLI_TURN_JOURNAL: {
    kind: 'input',
    meaning: 'The journal of a key turn is damaged.',
    remedy: 'Restore the home from a backup.',
  },
  CLI_BACKUP: {
    kind: 'auth',
    meaning: 'A backup does not open under this passphrase, or it was cut or changed.',
    remedy: 'Try the passphrase of that backup, or another copy of the file.',
  },
  BUILD_SPECIAL_FILE: {
    kind: 'input',
    meaning: 'The input tree holds a symbolic link, device, socket or pipe; only files and folders are packed.',
    remedy: 'Remove it, or leave it out with --exclude.',
  },
  BUILD_INPUT_CHANGED: {
    kind: 'input',
    meaning: 'A file changed while it was being packed.',
    remedy: 'Stop what writes to the tree and build again.',
  },
  BUILD_EMPTY: {
    kind: 'input',
    meaning: 'The input tree has no file to release.',
    remedy: 'Check --input.',
  },
  BUILD_FOREIGN_ARCHIVE: {
    kind: 'auth',
    meaning:
      'An archive in a release tree was packed with the keys of another home: the key that players receive would not open it.',
    remedy: 'Pack the tree with "keyturn pack tree" in this home, or use the home that packed it.',
  },
  CLI_USAGE: {
    kind: 'usage',
    meaning: 'The command line is not valid: an unknown command or flag, or a missing or impossible value.',
    remedy: 'Run the command with --help; each one shows an example.',
  },
  CLI_PATH_UNKNOWN: {
    kind: 'usage',
    meaning: 'A named file or folder does not exist, or is a folder instead of a file or the reverse.',
    remedy: 'Check the path.',
  },
  CLI_EXISTS: {
    kind: 'usage',
    meaning: 'A file or folder that would be written already exists.',
    remedy: 'Choose another name, or give --force where the command has it.',
  },
  CLI_NETWORK: {
    kind: 'unavailable',
    meaning: 'The server could not be reached.',
    remedy: 'Check the address and that the server runs; the command can be repeated.',
  },
  CLI_INTERNAL: {
    kind: 'bug',
    meaning: 'The program met a state it does not know.',
    remedy: 'Report it with the report id; the file it names holds the details.',
  },
} as const satisfies ErrorCatalogue<string>

/** A code of this package. */
export type PublisherErrorCode = keyof typeof publisherErrors

/** Thrown for a home, release or rotation that is not as it must be. Branch on `code`. */
export class PublisherError extends KeyturnError<PublisherErrorCode> {
  override readonly name = 'PublisherError'

  /**
   * @param code - What is wrong.
   * @param message - What failed, where, what was found and what was expected.
   * @param context - Details, hint and cause.
   */
  constructor(code: PublisherErrorCode, message: string, context?: ErrorContext) {
    super(publisherErrors, code, message, context)
  }
}

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
  CLI_HOME_STALE: {
    kind: 'policy',
    meaning: 'The home is older than the log that is published: a restored backup, or the copy of another machine.',
    remedy: 'Use the newest backup, or the machine that signed last; what this home signed now would rival it.',
  },
  CLI_TURN_PENDING: {
    kind: 'busy',
    meaning: 'A rotation was interrupted and has to be finished before another one starts.',
    remedy:
      'Run the same "keyturn rotate" command again: it continues where it stopped. --abandon gives it up while ' +
      'nothing is in force.',
  },
  CLI_TURN_UNREADY: {
    kind: 'usage',
    meaning: 'Something that the rotation needs is missing: the next key, a release to sign again, or the server.',
    remedy: 'See the message; "keyturn doctor" names everything that is missing.',
  },
  CLI_TURN_JOURNAL: {
    kind: 'input',
    meaning: 'The journal of a rotation is damaged.',
    remedy: 'Restore the home from a backup.',
  },
  CLI_BACKUP: {
    kind: 'auth',
    meaning: 'A backup does not open under this passphrase, or it was cut or changed.',
    remedy: 'Try the passphrase of that backup, or another copy of the file.',
  },
  REL_SERVER_TOKEN: {
    kind: 'policy',
    meaning: 'The access token of this home would be sent to another server than the one it belongs to.',
    remedy: 'Give --token-file with a token of that server.',
  },
  REL_INSECURE_SERVER: {
    kind: 'policy',
    meaning: 'The access token would be sent over plain http to another machine, where anyone on the way can read it.',
    remedy: 'Use https, or --insecure-http on a network that nobody else can read.',
  },
  REL_OFFERED: {
    kind: 'policy',
    meaning: 'The release is or was offered, or another one was made after it, so it cannot be discarded.',
    remedy: 'Withdraw it instead: "keyturn release halt --withdraw".',
  },
  PRJ_NOT_FOUND: {
    kind: 'usage',
    meaning: 'There is no project file here or in a folder above.',
    remedy: 'Run "keyturn project init" beside the source of the client, or name the file with --project.',
  },
  PRJ_FORMAT: {
    kind: 'input',
    meaning: 'The project file is not what docs/spec/project.md describes.',
    remedy: 'Correct the member that the message names.',
  },
  BUILD_SECRET: {
    kind: 'policy',
    meaning: 'A file of the tree looks like a secret: a private key, or an .env file.',
    remedy:
      'Move it out of the tree, leave it out with --exclude, or name it with --include; in keyturn.json, with the ' +
      'members "exclude" and "include".',
  },
  BUILD_CLAIM: {
    kind: 'input',
    meaning:
      'Two rules of a project take the same file, or an archive would hold files of several components or platforms.',
    remedy: 'Correct "archives", "components" or "platforms" in keyturn.json as the message says.',
  },
  BUILD_FORMAT_CHANGED: {
    kind: 'policy',
    meaning: 'The channel had encrypted archives, and this release would have none.',
    remedy: 'Give the folder that "keyturn pack tree" made; if it is meant, say --format legacy-json-blob.',
  },
  REL_NO_OFFER: {
    kind: 'usage',
    meaning: 'Nothing is offered on this channel yet, so there is no offer to repeat or to change.',
    remedy: 'Run "keyturn release offer VERSION".',
  },
  REL_SCHEDULED: {
    kind: 'policy',
    meaning: 'A release is scheduled on the channel: it is sealed until its time, and one channel has one schedule.',
    remedy: 'Run "keyturn release schedule" with --at for another date, --now to release it at once, or --cancel.',
  },
  REL_NO_SCHEDULE: {
    kind: 'usage',
    meaning: 'Nothing is scheduled on the channel.',
    remedy: 'Run "keyturn release schedule --list" to see what is.',
  },
  REL_SCHEDULE_TIME: {
    kind: 'usage',
    meaning: 'A release cannot be scheduled for that time: it is not ahead, or more than 90 days ahead.',
    remedy: 'Give --at in UTC, like 2026-12-04T18:00Z, or --now.',
  },
  REL_NOT_SEALABLE: {
    kind: 'usage',
    meaning: 'The release has no encrypted archives, so nothing of it can be kept closed until its time.',
    remedy: 'Schedule a release of format m2pack.',
  },
  REL_KEY_NOT_TAKEN: {
    kind: 'unavailable',
    meaning: 'A scheduled release stays closed because the server did not take its runtime key.',
    remedy: 'Give the server a vault, or schedule a release with a key file; then run "keyturn release renew".',
  },
  REL_READABLE: {
    kind: 'policy',
    meaning: 'Files outside archives, names of new archives or notes of the release could be read before its time.',
    remedy: 'Put them into archives that exist already, leave the notes out, or accept it with --allow-readable.',
  },
  REL_HALTED: {
    kind: 'policy',
    meaning: 'The channel is halted, and offering a release would end that.',
    remedy: 'Give --resume when that is what you want; "keyturn release renew" keeps the halt.',
  },
  REL_ROLLING_OUT: {
    kind: 'policy',
    meaning: 'A rollout is running on the channel, and offering another release would end it.',
    remedy: 'Give --percent: 100 offers the release to everyone.',
  },
  REL_KEY_KILLED: {
    kind: 'policy',
    meaning: 'The key has ended itself with "keyturn release kill": launchers install nothing that it signs.',
    remedy: 'Put another key in force with the identity: "keyturn rotate release" replaces every key that has ended.',
  },
  REL_FOREIGN: {
    kind: 'no',
    meaning: 'The public log of releases has something that this home did not publish, or shows two people two logs.',
    remedy: 'If nobody of yours made it, your keys are stolen: "keyturn release kill both", then rotate.',
  },
  REL_NO_LOG: {
    kind: 'usage',
    meaning: 'The role document in force has no log policy, or the file of the monitor cannot be read.',
    remedy: 'Seal a policy: "keyturn roles propose --log-policy FILE"; a file of the monitor may be deleted.',
  },
  REL_NOT_IN_FORCE: {
    kind: 'usage',
    meaning: 'The key is in no role of the role document in force, so no launcher counts what it signs.',
    remedy: 'See "keyturn status" for the keys in force.',
  },
  REL_WITHDRAWN: {
    kind: 'policy',
    meaning: 'The release was withdrawn on this channel: launchers refuse it there.',
    remedy: 'Offer a newer release, or bring older files back with "keyturn release rollback VERSION".',
  },
  REL_NO_FALLBACK: {
    kind: 'usage',
    meaning: 'A rollout or a halt needs another release for those who do not get the one on offer.',
    remedy: 'Give --fallback VERSION; the first release of a channel goes to everyone.',
  },
  REL_HEAD_WAITING: {
    kind: 'policy',
    meaning: 'A head that offers something else was signed and never published.',
    remedy: 'Publish it with "keyturn release publish", or forget it with "keyturn release drop-head".',
  },
  REL_HEAD_STALE: {
    kind: 'busy',
    meaning: 'A head that was signed earlier was overtaken by one that is published: its number is used up.',
    remedy: 'Run "keyturn release offer" for its release again, or forget it with "keyturn release drop-head".',
  },
  REL_HEAD_JUMP: {
    kind: 'policy',
    meaning: 'The next head would be further above the last one than launchers accept.',
    remedy: 'Forget a head that was never published with "keyturn release drop-head"; otherwise raise the epoch.',
  },
  REL_EPOCH: {
    kind: 'policy',
    meaning: 'The release belongs to an earlier epoch than the role document in force: launchers refuse it.',
    remedy: 'Run "keyturn release rollback VERSION" to offer its files in the new epoch.',
  },
  REL_ROLES_EXPIRED: {
    kind: 'policy',
    meaning: 'The role document in force has expired: launchers refuse whatever is signed under it.',
    remedy: 'Run "keyturn rotate release", which seals a new one.',
  },
  REL_TREE_CHANGED: {
    kind: 'input',
    meaning: 'A file changed after its release was prepared: the signed manifest describes other bytes.',
    remedy: 'Put the file back, or discard the release and prepare it again.',
  },
  REL_COSIGN: {
    kind: 'policy',
    meaning: 'The role document wants more signatures than this home has keys for: somebody else has to sign too.',
    remedy: 'Sign in single steps, and let the others run "keyturn release cosign"; see docs/guides/team-of-twelve.md.',
  },
  REL_COSIGN_OTHER: {
    kind: 'input',
    meaning: 'What is to be signed by a second person, or came back signed, is not of this product, tree or role.',
    remedy: 'Compare product, version and SHA-256 with the person who prepared the release.',
  },
  REL_SERVER_FILE: {
    kind: 'input',
    meaning: 'The server lacks a file of a published release, or has other bytes under its name.',
    remedy: 'Run "keyturn-server fsck" on the server, or publish from the home that made the release.',
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
      'An archive in a release tree was packed with the keys of another home: the key that players receive would ' +
      'not open it.',
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

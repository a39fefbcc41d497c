import type { KeyturnError } from '@keyturn/primitives'

/**
 * What to do in terms of this program, for codes of packages that do not know its flags. A hint of the error itself
 * wins.
 */
const hints: Readonly<Record<string, string>> = {
  SRV_AUTH:
    'Give the publisher\'s token: --token-file FILE, or the variable KEYTURN_TOKEN_FILE; "keyturn serve" writes ' +
    'one to publisher.token in its data folder',
  SRV_SCOPE: 'Give a token with that scope: --token-file FILE, or the variable KEYTURN_TOKEN_FILE',
  SRV_NETWORK:
    'See that the server runs and that --server names it, then run the command again: what was sent already is kept',
  CLI_NETWORK: 'See that the server runs and that --server names it, then run the command again',
  KEY_PASSPHRASE: 'Type it again, or see which file --passphrase-file names; nothing was changed',
  KEY_ALIAS_UNKNOWN: 'Run "keyturn status" to see the keys that are in force, by name',
  KEY_NOT_FOUND: 'See that --home names the right folder, or bring the file back with "keyturn restore"',
  CLI_HOME_EXISTS:
    'Nothing was changed. Give another folder with --home, or rename this one first; keep it until the new one works',
  KEY_IO:
    'Nothing was changed by halves. See that the disk has space and that the path is a file of yours, then run it again',
  KEL_PREFIX:
    'The product belongs to another identity than the one of this home. Restore the home that made it: "keyturn restore ' +
    'FILE"; a new one from "keyturn init" cannot take its place',
  KEY_PERMISSION: 'Run "keyturn doctor": it names the chmod that closes the file to others',
  PRIM_LOCKED: 'Another command works on the same folder: wait until it is over, then run this one again',
  PUB_WOULD_BREAK:
    'Sign what those channels offer too: "keyturn release sign VERSION --channel NAME" in the home that has it, then ' +
    'run the command again',
  PUB_TAKEN: 'Another machine was first. Run the command again, or give another --version-name',
  LA_ACCESS: 'Give the code that the publisher gave you: --access-code-file FILE. What is installed can be played',
}

/** What a stopped command left and what to run next, by its name. */
export const afterStop: Readonly<Record<string, string>> = {
  init: 'Nothing was made: run "keyturn init" again',
  ship: 'Nothing was offered; what was uploaded is kept: run "keyturn ship" again',
  'pack tree': 'Nothing was kept of the new tree: run "keyturn pack tree" again',
  'pack build': 'Nothing was written: run it again',
  'release prepare': 'Nothing was prepared: run "keyturn release prepare" again',
  'release publish': 'What was uploaded is kept, and players see nothing of it: run "keyturn release publish" again',
  'release schedule': 'What was sealed and uploaded is kept: run it again, it goes on where it stopped',
  'rotate all': 'What is done is kept: run "keyturn rotate all" again, or see "keyturn status"',
  'rotate content': 'What is done is kept: run "keyturn rotate content" again, it goes on where it stopped',
  'rotate release': 'What is done is kept: run "keyturn rotate release" again, it goes on where it stopped',
  'rotate head': 'What is done is kept: run "keyturn rotate head" again, it goes on where it stopped',
  'rotate identity': 'What is done is kept: run "keyturn rotate identity" again, it goes on where it stopped',
  'rotate transport': 'What is done is kept: run "keyturn rotate transport" again, it goes on where it stopped',
  'rotate vault': 'What is done is kept: run "keyturn rotate vault" again, it goes on where it stopped',
  'launcher build': 'Nothing was written that is half: run "keyturn launcher build" again',
  backup: 'No backup was written; an earlier file is as it was: run "keyturn backup" again',
  restore: 'Nothing was restored: run "keyturn restore" again',
  update: 'What was downloaded is kept: run "keyturn update" again, it goes on where it stopped',
  repair: 'What was repaired stays: run "keyturn repair" again',
}

/**
 * The hint that goes with an error.
 *
 * @param error - As it is reported.
 * @param command - `pack build`; default: of no command.
 */
export function hintOf({ code, hint }: KeyturnError, command = ''): string | undefined {
  return hint ?? (code === 'CLI_INTERRUPTED' ? afterStop[command] : undefined) ?? hints[code]
}

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
  KEY_PERMISSION: 'Run "keyturn doctor": it names the chmod that closes the file to others',
  PRIM_LOCKED: 'Another command works on the same folder: wait until it is over, then run this one again',
  PUB_WOULD_BREAK: 'Run "keyturn doctor": it shows where the home and the server differ',
}

/**
 * The hint that goes with an error.
 *
 * @param error - As it is reported.
 */
export function hintOf({ code, hint }: KeyturnError): string | undefined {
  return hint ?? hints[code]
}

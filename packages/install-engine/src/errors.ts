import { KeyturnError, PrimitivesError, printable } from '@keyturn/primitives'
import type { ErrorCatalogue, ErrorContext } from '@keyturn/primitives'

/** The codes of this package. */
export const launcherErrors = {
  LA_NETWORK: {
    kind: 'io',
    meaning: 'The server could not be reached or the connection broke, and no mirror helped.',
    remedy: 'Check the connection; the launcher tries again by itself and what is installed can be played.',
  },
  LA_PROXY: {
    kind: 'usage',
    meaning: 'The environment names a proxy that the launcher cannot use.',
    remedy: 'Set HTTP_PROXY and HTTPS_PROXY to an http:// proxy, or name the release server in NO_PROXY.',
  },
  LA_HTTP_STATUS: {
    kind: 'io',
    meaning: 'The server answered with a status instead of a file.',
    remedy: 'Tell the publisher which file is missing; what is installed stays as it is.',
  },
  LA_ACCESS: {
    kind: 'policy',
    meaning: 'The channel is protected, and no access code, or a wrong one, was given.',
    remedy:
      'Enter the code that the publisher gave you, or change to another channel; what is ' + 'installed can be played.',
  },
  LA_TIMEOUT: {
    kind: 'unavailable',
    meaning: 'The server sends too slowly or not at all.',
    remedy: 'Try again later; what was downloaded is kept.',
  },
  LA_REDIRECT: {
    kind: 'io',
    meaning: 'The server or the network sends the launcher to another place, in circles, or to a web page.',
    remedy: 'Sign in to the network if it asks for that; otherwise report it to the publisher.',
  },
  LA_RANGE: {
    kind: 'io',
    meaning: 'The server answered a request for a part of a file with another part.',
    remedy: 'Nothing: the file is fetched again from the start.',
  },
  LA_SIZE: {
    kind: 'input',
    meaning: 'A file from the server is longer or shorter than the signed manifest says.',
    remedy: 'Try again later; if it happens again, the server or a cache in front of it is damaged.',
  },
  LA_HASH: {
    kind: 'auth',
    meaning: 'A file is not the one that the signed manifest names.',
    remedy: 'Try again later; if it happens again, the server or a cache in front of it is damaged.',
  },
  LA_ENCODING: {
    kind: 'input',
    meaning: 'The server compressed an answer that was requested uncompressed.',
    remedy: 'Turn off compression of the release files on the server or its cache.',
  },
  LA_STAGE_TAMPERED: {
    kind: 'auth',
    meaning: 'A downloaded file changed on disk after it was verified.',
    remedy: 'Look for a program that changes files in the install folder, then update again.',
  },
  LA_SYMLINK: {
    kind: 'policy',
    meaning: 'A folder or file of the install is a link, or is not a plain file, so nothing is written through it.',
    remedy: 'Replace the link by a real folder, or install elsewhere.',
  },
  LA_IN_THE_WAY: {
    kind: 'policy',
    meaning: 'Something that is not of the release appeared in the place of one of its files while the update ran.',
    remedy: 'Update again to have it set aside beside its old place, or move it elsewhere.',
  },
  LA_SET_ASIDE: {
    kind: 'no',
    meaning: 'A file of the player was in the place of a file or folder of the release, so it was renamed.',
    remedy: 'Nothing: the message says where it is now.',
  },
  LA_PERMISSION: {
    kind: 'io',
    meaning: 'The install folder cannot be written by this user, or belongs to another one.',
    remedy: 'Give this user the right to write there, or install elsewhere.',
  },
  LA_DISK_FULL: {
    kind: 'io',
    meaning: 'The disk has no room for the update; what is installed is unchanged.',
    remedy: 'Free as many bytes as the message says, then update again: what was downloaded is kept.',
  },
  LA_UNFINISHED: {
    kind: 'policy',
    meaning: 'A low-disk-space update is unfinished: the install mixes two releases and cannot be started.',
    remedy: 'Update again while the server can be reached; the update continues where it stopped.',
  },
  LA_IO: {
    kind: 'io',
    meaning: 'The disk refused to read or write.',
    remedy: 'Check the disk; the cause names the call and the file.',
  },
  LA_FOLDER_GONE: {
    kind: 'io',
    meaning: 'The folder of the install is gone: it was moved or renamed, or its disk is not connected.',
    remedy: 'Connect the disk, or start the launcher with the folder where the game is now.',
  },
  LA_LOCKED: {
    kind: 'busy',
    meaning: 'Another program holds the install: a second launcher, or the running client.',
    remedy: 'Close it and try again.',
  },
  LA_JOURNAL: {
    kind: 'input',
    meaning: 'The record of an update in progress is damaged.',
    remedy: 'Run repair: every file is verified and only bad ones are fetched.',
  },
  LA_RECOVERED: {
    kind: 'no',
    meaning: 'An interrupted update was finished or undone at the start.',
    remedy: 'Nothing: the install is whole.',
  },
  LA_NOT_INSTALLED: {
    kind: 'usage',
    meaning: 'Nothing is installed in this folder yet.',
    remedy: 'Run update first.',
  },
  LA_FOLDER: {
    kind: 'usage',
    meaning:
      'The folder chosen for the game cannot be used: it holds other files, cannot be written, or is a system folder.',
    remedy: 'Choose an empty folder, a new one, or one that holds this game already.',
  },
  LA_BARRED: {
    kind: 'policy',
    meaning: 'The installed release must not be played: its keys were revoked, or its signature was refused.',
    remedy: 'Update to a release that is signed by keys still in force.',
  },
  LA_FORKED: {
    kind: 'policy',
    meaning: 'Two contradicting signed documents exist, so nothing new is installed until the publisher settles it.',
    remedy: 'Play on, and report it to the publisher. Both documents are kept as evidence.',
  },
  LA_RELEASE_FAILED: {
    kind: 'policy',
    meaning: 'The offered release did not start twice and was rolled back, so it is not installed again.',
    remedy: 'Wait for the next release.',
  },
  LA_ROLLOUT: {
    kind: 'no',
    meaning: 'The newest release is rolled out in steps and this install is not in it yet.',
    remedy: 'Wait, or ask for it by hand if the publisher allows that.',
  },
  LA_PRELOAD_SPACE: {
    kind: 'no',
    meaning: 'The next release does not fit on the disk beside what is installed, so it is not downloaded ahead.',
    remedy: 'Free some space, or wait: it is downloaded when it is offered.',
  },
  LA_REQUIRES: {
    kind: 'policy',
    meaning: 'The release cannot run on this machine.',
    remedy: 'See the message for what it needs.',
  },
  LA_PROGRAM: {
    kind: 'usage',
    meaning: 'The program to start is unknown, or not part of the verified release.',
    remedy: 'Set the program in the launcher’s settings or by its option.',
  },
  LA_CHILD: {
    kind: 'io',
    meaning: 'The client could not be started.',
    remedy: 'See the cause: missing program, missing wine, or no right to run it.',
  },
  LA_CLIENT_FAILED: {
    kind: 'no',
    meaning: 'The client was started and ended with an error.',
    remedy: 'Start it again; after two such starts of a new release, the launcher goes back to the previous one.',
  },
  LA_NO_ROLLBACK: {
    kind: 'no',
    meaning: 'No earlier release is kept that could be restored.',
    remedy: 'Use repair, or wait for the next release.',
  },
  LA_SETTINGS: {
    kind: 'input',
    meaning: 'The launcher’s settings are malformed, or belong to another server or identity.',
    remedy: 'Fix or remove the settings file that the message names.',
  },
  LA_USAGE: {
    kind: 'usage',
    meaning: 'A flag or argument is missing or wrong.',
    remedy: 'See --help.',
  },
  LA_NOT_NOW: {
    kind: 'policy',
    meaning:
      'An update was found, and its download was not allowed now: too large to come unasked, or not at this time.',
    remedy: 'Ask for the update, or change when and how much is downloaded.',
  },
  LA_PAUSED: {
    kind: 'interrupted',
    meaning: 'The download is paused.',
    remedy: 'Resume it; nothing is lost.',
  },
  LA_API_AUTH: {
    kind: 'auth',
    meaning: 'A request to the local interface came without its token, from another page, or for another host.',
    remedy: 'Open the page with keyturn-launcher open.',
  },
  LA_API_REQUEST: {
    kind: 'usage',
    meaning: 'A request to the local interface is malformed, too large, or of an unknown kind.',
    remedy: 'See docs/spec/launcher.md for the calls.',
  },
  LA_BUG: {
    kind: 'bug',
    meaning: 'The launcher met a state that must not happen.',
    remedy: 'Report it with the log file.',
  },
} as const satisfies ErrorCatalogue<string>

/** A code of this package. */
export type LauncherErrorCode = keyof typeof launcherErrors

/** Thrown when an install, update or start cannot go on. Branch on `code`. */
export class LauncherError extends KeyturnError<LauncherErrorCode> {
  override readonly name = 'LauncherError'

  /**
   * @param code - What is wrong.
   * @param message - What failed, where, what was found and what was wanted.
   * @param context - Details, hint and cause.
   */
  constructor(code: LauncherErrorCode, message: string, context?: ErrorContext) {
    super(launcherErrors, code, message, context)
  }
}

/** What to do where a downloaded file changes or goes before it is in place. */
export const SCANNER_HINT =
  'A virus scanner may hold it for suspicious: allow the install folder there, then update again'

const DISK_CODES: Readonly<Record<string, LauncherErrorCode>> = {
  ENOSPC: 'LA_DISK_FULL',
  EDQUOT: 'LA_DISK_FULL',
  EFBIG: 'LA_DISK_FULL',
  EACCES: 'LA_PERMISSION',
  EPERM: 'LA_PERMISSION',
  EROFS: 'LA_PERMISSION',
  EBUSY: 'LA_LOCKED',
  ETXTBSY: 'LA_LOCKED',
  ELOOP: 'LA_SYMLINK',
}

const FULL_HINT = 'Free some room on that disk, then try again: what was downloaded is kept'

/** What to do, where the code says it. */
const hints: Readonly<Record<string, string>> = {
  ENOSPC: FULL_HINT,
  EDQUOT: FULL_HINT,
  EPERM: 'Something protects this file, or another program holds it: allow the game folder there, then try again',
  EACCES: 'Run the launcher as the account that installed it, or install into a folder of your own',
  EROFS: 'The disk is read-only: install elsewhere',
}

/** The system's own error, also from inside the one that the shared disk code wraps it in. */
function systemErrorOf(error: unknown): NodeJS.ErrnoException | undefined {
  if (error instanceof PrimitivesError)
    return ['PRIM_FILE', 'PRIM_DISK_FULL', 'PRIM_EXISTS'].includes(error.code) ? systemErrorOf(error.cause) : undefined
  if (!(error instanceof Error) || error instanceof KeyturnError) return undefined
  const { code } = error as NodeJS.ErrnoException
  return typeof code === 'string' && /^E[A-Z0-9]+$/.test(code) ? error : undefined
}

/** What an operation meets whose install was moved away under it. */
export function folderGone(folder: string, cause?: unknown): LauncherError {
  return new LauncherError('LA_FOLDER_GONE', `Cannot find the folder of the game: "${printable(folder, 1000)}"`, {
    details: { path: folder },
    hint: 'Connect its disk, or start the launcher with the folder where the game is now',
    cause,
  })
}

/** Codes of a disk that takes nothing more: full, or read-only. */
const TAKES_NOTHING = new Set(['ENOSPC', 'EDQUOT', 'EROFS'])

/** Whether a disk takes nothing more; what is on it can be read all the same. */
export function takesNothing(error: unknown): boolean {
  const code = error instanceof LauncherError ? error.details['errno'] : systemErrorOf(error)?.code
  return typeof code === 'string' && TAKES_NOTHING.has(code)
}

/** Writes what a start can do without: where the disk takes nothing, it is left out. */
export async function whereDiskTakes(write: () => Promise<void>): Promise<void> {
  try {
    await write()
  } catch (error) {
    if (!takesNothing(error)) throw error
  }
}

/**
 * Turns what the file system threw into a {@link LauncherError} that names call and path; anything else is returned
 * as it is.
 */
export function diskError(error: unknown, doing: string): unknown {
  const system = systemErrorOf(error)
  if (system === undefined) return error
  const { code = '', syscall, path } = system
  const where = typeof path === 'string' ? ` at "${path}"` : ''
  return new LauncherError(DISK_CODES[code] ?? 'LA_IO', `Cannot ${doing}: ${code} in ${syscall ?? 'a call'}${where}`, {
    details: {
      errno: code,
      call: syscall,
      path: typeof path === 'string' ? path : undefined,
    },
    hint: hints[code],
    cause: error,
  })
}

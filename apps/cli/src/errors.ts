import { KeyturnError, printable } from '@keyturn/primitives'
import type { ErrorCatalogue, ErrorContext } from '@keyturn/primitives'
import { publisherErrors } from '@keyturn/publisher'

/**
 * The codes of the command line and of the homes it works on; every other code comes from the package that found the
 * fault.
 */
export const cliErrors = {
  ...publisherErrors,
  CLI_NO_TERMINAL: {
    kind: 'usage',
    meaning: 'The command has to ask a question, but there is no terminal.',
    remedy: 'Give --passphrase-file or --passphrase-fd for a passphrase, --yes for a confirmation.',
  },
  CLI_AGENT: {
    kind: 'io',
    meaning: 'The keys cannot be unlocked: the folder of the socket is not safe, or the process did not start.',
    remedy: 'See the message; let XDG_RUNTIME_DIR name a folder that belongs to you and has mode 0700.',
  },
  CLI_DECLINED: {
    kind: 'no',
    meaning: 'The question before a change was answered with no; nothing was changed.',
    remedy: 'Run the command again and confirm, or give --yes.',
  },
  CLI_PASSPHRASE_REPEAT: {
    kind: 'usage',
    meaning: 'A new passphrase was empty or was not repeated the same.',
    remedy: 'Type the same passphrase twice.',
  },
  CLI_ARCHIVES: {
    kind: 'auth',
    meaning: 'Some of the verified archives were refused; each one is listed with its code.',
    remedy: 'Build or fetch the listed archives again.',
  },
  CLI_IO: {
    kind: 'io',
    meaning: 'The disk refused to read or write.',
    remedy: 'See the message: permissions, free space, or a broken medium.',
  },
  CLI_ADDRESS: {
    kind: 'io',
    meaning: 'Another program uses the address, or this machine does not have it.',
    remedy: 'Stop the other program, or choose another --port or --host; port 0 means any free port.',
  },
  CLI_SERVER_MISSING: {
    kind: 'unavailable',
    meaning: 'The command runs the release server, but the package "@keyturn/release-server" is not installed.',
    remedy: 'Install it: npm install @keyturn/release-server. Nothing else needs it.',
  },
  CLI_INTERRUPTED: {
    kind: 'interrupted',
    meaning: 'The command was stopped by Ctrl-C or a termination signal; nothing is half-written.',
    remedy: 'Run it again; a rotation continues where it stopped.',
  },
  CLI_CONFIG: {
    kind: 'usage',
    meaning: 'The configuration file is not strict JSON or names a setting that does not exist.',
    remedy: 'Fix the file; the message names the setting.',
  },
  CLI_DUE: {
    kind: 'no',
    meaning: 'Something is due ("status --check") or unsound ("doctor").',
    remedy: 'Each line of "keyturn status" and "keyturn doctor" names the command that fixes it.',
  },
  CLI_CODE_UNKNOWN: {
    kind: 'usage',
    meaning: 'There is no error with this code.',
    remedy: 'Codes are upper case with underscores; "keyturn explain" without one lists them all.',
  },
  CLI_DEMO: {
    kind: 'policy',
    meaning: 'A check of the demonstration failed.',
    remedy: 'Run it with --json and --keep, and report the step that failed.',
  },
  CLI_DRILL: {
    kind: 'policy',
    meaning: 'A drill did not hold: a command failed, a launcher did not follow in time, or a player noticed it.',
    remedy: 'Read the report; with --dir, the launchers and their logs stay.',
  },
} as const satisfies ErrorCatalogue<string>

/** A code of the command line. */
export type CliErrorCode = keyof typeof cliErrors

/** Thrown by commands for faults of the command line itself. Branch on `code`. */
export class CliError extends KeyturnError<CliErrorCode> {
  override readonly name = 'CliError'

  /**
   * @param code - What is wrong.
   * @param message - What failed, where, what was found and what was wanted.
   * @param context - Details, hint and cause.
   */
  constructor(code: CliErrorCode, message: string, context?: ErrorContext) {
    super(cliErrors, code, message, context)
  }
}

/**
 * Makes a {@link KeyturnError} of whatever was thrown: errors with codes pass, those of the operating system and of
 * `fetch` get one, everything else is a fault of ours.
 *
 * @param thrown - The value caught.
 */
export function toKeyturnError(thrown: unknown): KeyturnError {
  if (thrown instanceof KeyturnError) return thrown
  if (isAbort(thrown)) {
    const cause = thrown instanceof Error ? thrown.cause : undefined
    return cause instanceof KeyturnError ? cause : new CliError('CLI_INTERRUPTED', 'Stopped', { cause: thrown })
  }
  const system = systemCode(thrown)
  if (system !== undefined) return fromSystem(system, thrown as Error)
  return new CliError('CLI_INTERNAL', thrown instanceof Error ? thrown.message : String(thrown), { cause: thrown })
}

const NETWORK = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ETIMEDOUT',
  'EPIPE',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT',
  'UND_ERR_SOCKET',
])

function fromSystem(code: string, error: Error): CliError {
  const path = (error as NodeJS.ErrnoException).path
  const where = path === undefined ? '' : `: "${printable(path)}"`
  const context = { cause: error, details: { errno: code } }
  if ((error as NodeJS.ErrnoException).syscall === 'listen')
    return new CliError('CLI_ADDRESS', printable(error.message), { ...context, hint: cliErrors.CLI_ADDRESS.remedy })
  if (NETWORK.has(code)) return new CliError('CLI_NETWORK', `Cannot reach the server (${code})`, context)
  if (code === 'ENOENT') return new CliError('CLI_PATH_UNKNOWN', `No such file or folder${where}`, context)
  if (code === 'ENOTDIR') return new CliError('CLI_PATH_UNKNOWN', `Not a folder${where}`, context)
  if (code === 'EISDIR') return new CliError('CLI_PATH_UNKNOWN', `A folder, not a file${where}`, context)
  if (code === 'EEXIST' || code === 'ENOTEMPTY') return new CliError('CLI_EXISTS', `Already there${where}`, context)
  return new CliError('CLI_IO', `${printable(error.message)}`, context)
}

/** The code of an operating system or network error, also below the `TypeError: fetch failed` that hides it. */
function systemCode(thrown: unknown): string | undefined {
  for (let error = thrown, depth = 0; error instanceof Error && depth < 4; error = error.cause, depth += 1) {
    const code: unknown = (error as NodeJS.ErrnoException).code
    if (typeof code === 'string' && /^E[A-Z0-9]{2,}$|^UND_ERR_/.test(code) && !code.startsWith('ERR_')) return code
  }
  return undefined
}

function isAbort(thrown: unknown): boolean {
  return thrown instanceof Error && (thrown.name === 'AbortError' || thrown.name === 'CancelledError')
}

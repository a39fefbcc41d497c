import { KeyturnError } from '@keyturn/primitives'
import type { ErrorCatalogue, ErrorContext } from '@keyturn/primitives'

/** The codes of the launcher builder. */
export const launcherBuildErrors = {
  LB_CONFIG: {
    kind: 'usage',
    meaning: 'A value for the launcher (name, id, version, accent, language, channel) is missing or not allowed.',
    remedy: 'Correct the value that the message names, in keyturn.json or on the command line.',
  },
  LB_SERVER: {
    kind: 'usage',
    meaning: 'The server is not an https address. Players would fetch releases over an open connection.',
    remedy: 'Give the https address of the release server; plain http is allowed for this machine only.',
  },
  LB_PIN: {
    kind: 'usage',
    meaning: 'The trust pin is malformed or names another identity than the release identity of this home.',
    remedy: 'Leave --trust out, or take the value that "keyturn release trust" prints.',
  },
  LB_ICON: {
    kind: 'usage',
    meaning: 'A Windows launcher needs an icon, and the file is missing or is not an .ico file.',
    remedy: 'Give --icon an .ico file with the sizes 16, 32, 48 and 256.',
  },
  LB_IMAGE: {
    kind: 'usage',
    meaning: 'The logo or background is missing, too large, or not a PNG, JPEG or WebP image.',
    remedy: 'Give a PNG, JPEG or WebP file of at most 2 MB.',
  },
  LB_RUNTIME: {
    kind: 'unavailable',
    meaning: 'The Node runtime for a platform could not be fetched, or is not the one this version was tested with.',
    remedy: 'Check the connection to the npm registry, or pass the executable of that Node version with --runtime.',
  },
  LB_BUNDLE: {
    kind: 'io',
    meaning: 'The launcher bundle that ships with this package is missing or damaged.',
    remedy: 'Install @keyturn/launcher-daemon again; in a checkout, run the build.',
  },
  LB_NO_NSIS: {
    kind: 'unavailable',
    meaning: 'makensis is not on the PATH, so no Windows setup can be made. The portable executable was made.',
    remedy: 'Install NSIS 3 (Debian: apt install nsis), or pass --no-installer.',
  },
  LB_INSTALLER: {
    kind: 'io',
    meaning: 'makensis or the injection of the bundle into the executable failed.',
    remedy: 'The message holds what the tool printed; run the command again after fixing it.',
  },
  LB_SIGN: {
    kind: 'io',
    meaning: 'The signing command failed, or left no file at {out}.',
    remedy: 'Run the command by hand with a file of your own; it has to contain {in} and {out}.',
  },
} as const satisfies ErrorCatalogue<string>

/** A code of the launcher builder. */
export type LauncherBuildErrorCode = keyof typeof launcherBuildErrors

/** Thrown when a launcher cannot be built. Branch on `code`. */
export class LauncherBuildError extends KeyturnError<LauncherBuildErrorCode> {
  override readonly name = 'LauncherBuildError'

  /**
   * @param code - What is wrong.
   * @param message - What failed, where, what was found and what was expected.
   * @param context - Details, hint and cause.
   */
  constructor(code: LauncherBuildErrorCode, message: string, context?: ErrorContext) {
    super(launcherBuildErrors, code, message, context)
  }
}

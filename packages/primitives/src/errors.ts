/** What kind of failure it is; decides exit code and HTTP status. */
export type ErrorKind =
  | 'no'
  | 'usage'
  | 'io'
  | 'unavailable'
  | 'input'
  | 'auth'
  | 'policy'
  | 'interrupted'
  | 'busy'
  | 'bug'

/** The exit code of each kind of failure, the same in every program; done is 0. */
export const exitCodes: Readonly<Record<ErrorKind, number>> = {
  no: 1,
  usage: 2,
  io: 3,
  unavailable: 3,
  input: 4,
  auth: 4,
  policy: 4,
  interrupted: 5,
  busy: 6,
  bug: 70,
}

/** What an error carries beside its code and message. Never secret. */
export interface ErrorContext {
  /** Facts a program may read: offsets, names, counts. What is undefined is left out. */
  readonly details?: Readonly<Record<string, string | number | undefined>> | undefined
  /** What the reader can do about it. */
  readonly hint?: string | undefined
  /** The error that led to this one. */
  readonly cause?: unknown | undefined
}

/** What one code means, for READMEs and `keyturn explain`. */
export interface ErrorExplanation {
  /** How the error is answered: exit code, HTTP status. */
  readonly kind: ErrorKind
  /** One sentence: what is wrong. */
  readonly meaning: string
  /** One sentence: what to do. */
  readonly remedy: string
}

/** Every code of one package with its explanation. A code, once released, keeps its meaning. */
export type ErrorCatalogue<Code extends string> = Readonly<Record<Code, ErrorExplanation>>

/** On every error of ours: two copies of this package in one process know each other's errors by it. */
const BRAND: unique symbol = /* @__PURE__ */ Symbol.for('keyturn.error')

/** The shape that the error classes of all packages share. Branch on `code`; `message` is for people. */
export abstract class KeyturnError<Code extends string = string> extends Error {
  /** `error instanceof KeyturnError` also holds for errors of another copy of this package, such as one in a bundle. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    if (this !== KeyturnError) return Function.prototype[Symbol.hasInstance].call(this, value)
    return typeof value === 'object' && value !== null && BRAND in value
  }

  /** Stable name of what is wrong. */
  readonly code: Code
  /** Decides exit code and HTTP status. */
  readonly kind: ErrorKind
  /** Facts a program may read. */
  readonly details: Readonly<Record<string, string | number>>
  /** What the reader can do about it. */
  readonly hint: string | undefined

  /**
   * @param catalogue - The codes of the package that throws; gives the kind.
   * @param code - Which of them.
   * @param message - What failed, where, what was found and what was expected.
   * @param context - Details, hint and cause.
   */
  constructor(catalogue: ErrorCatalogue<Code>, code: Code, message: string, context: ErrorContext = {}) {
    super(message, context.cause === undefined ? {} : { cause: context.cause })
    this.code = code
    this.kind = catalogue[code].kind
    this.details = definedOnly(context.details ?? {})
    this.hint = context.hint
  }

  /** Says that this is one of ours, whichever copy of the class made it. */
  get [BRAND](): true {
    return true
  }
}

function definedOnly(
  details: Readonly<Record<string, string | number | undefined>>,
): Readonly<Record<string, string | number>> {
  const known = Object.entries(details).filter((entry): entry is [string, string | number] => entry[1] !== undefined)
  return Object.fromEntries(known)
}

/** The codes of this package. */
export const primitivesErrors = {
  PRIM_ENCODING: {
    kind: 'input',
    meaning: 'Text is not the one canonical encoding of any bytes (hex, base64, base64url, z-base-32 or UTF-8).',
    remedy: 'Encode the value again: upper case, white space and wrong padding are refused on purpose.',
  },
  PRIM_JSON: {
    kind: 'input',
    meaning: 'Bytes are not strict JSON: syntax, duplicate key, depth, number, surrogate or forbidden key.',
    remedy: 'Fix the document at the offset that the message names.',
  },
  PRIM_LIMIT: {
    kind: 'input',
    meaning: 'A value from outside is larger than the limit its reader allows.',
    remedy: 'Raise the limit with its option if you trust the input; otherwise refuse the input.',
  },
  PRIM_TRUNCATED: {
    kind: 'input',
    meaning: 'The bytes end before an expected field.',
    remedy: 'Fetch the input again; it is cut off.',
  },
  PRIM_TRAILING: {
    kind: 'input',
    meaning: 'Bytes follow the last field.',
    remedy: 'Remove what was appended, or read the input with the format it was written in.',
  },
  PRIM_VALUE: {
    kind: 'input',
    meaning: 'A field holds a value that its format does not allow.',
    remedy: 'Check that the input is of the expected format and version.',
  },
  PRIM_KEY_INVALID: {
    kind: 'auth',
    meaning: 'A public key is not canonical or of low order, so nothing can be proved or agreed with it.',
    remedy: 'Ask the owner of the key for a valid one.',
  },
  PRIM_DECRYPT: {
    kind: 'auth',
    meaning: 'A ciphertext does not open under this key, nonce and additional data.',
    remedy: 'Check that key and input belong together.',
  },
  PRIM_FILE: {
    kind: 'io',
    meaning: 'A file could not be read or written.',
    remedy: 'See the cause: permissions, space, or a missing folder.',
  },
  PRIM_DISK_FULL: {
    kind: 'io',
    meaning: 'The disk has no room for a file; the old file is unchanged.',
    remedy: 'Free space on the volume and run the command again.',
  },
  PRIM_LINK: {
    kind: 'io',
    meaning: 'A file is a symbolic link that leads to nothing, or that another user placed, so nothing was written.',
    remedy: 'Mount the disk that the link leads to, or name the file itself.',
  },
  PRIM_EXISTS: {
    kind: 'usage',
    meaning: 'A file already exists, and overwriting was not allowed.',
    remedy: 'Choose another name, or allow overwriting.',
  },
  PRIM_LOCKED: {
    kind: 'busy',
    meaning: 'Another process holds the lock.',
    remedy:
      'Wait for it to end, or stop it. If the message names a process that has ended on another machine, delete ' +
      'the lock file.',
  },
  PRIM_JOURNAL: {
    kind: 'input',
    meaning: 'A journal of a change in progress is damaged.',
    remedy: 'Restore the folder from a backup; the journal names the files it was changing.',
  },
} as const satisfies ErrorCatalogue<string>

/** A code of this package. */
export type PrimitivesErrorCode = keyof typeof primitivesErrors

/** Thrown for bad input or bad state. Branch on `code`. */
export class PrimitivesError extends KeyturnError<PrimitivesErrorCode> {
  override readonly name = 'PrimitivesError'

  /**
   * @param code - What is wrong.
   * @param message - What failed, where, what was found and what was expected.
   * @param context - Details, hint and cause.
   */
  constructor(code: PrimitivesErrorCode, message: string, context?: ErrorContext) {
    super(primitivesErrors, code, message, context)
  }
}

const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/gu

/**
 * Makes text from outside safe to show: control, format and surrogate characters become `\u{…}`.
 *
 * @param text - Any text.
 * @param maxLength - Characters kept; the rest becomes an ellipsis.
 */
export function printable(text: string, maxLength = 200): string {
  const shown = text.length > maxLength ? `${text.slice(0, maxLength)}…` : text
  return shown.replace(UNPRINTABLE, (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`)
}

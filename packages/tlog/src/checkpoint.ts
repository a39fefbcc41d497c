import { base64Encode, equalBytes } from '@keyturn/primitives'
import { TlogError } from './errors.ts'
import { MAX_EXTENSION_LINES, MAX_NAME_BYTES } from './limits.ts'
import { EMPTY_ROOT } from './merkle.ts'
import { formatNote, parseNote, verifyNote } from './note.ts'
import type { SignedNote } from './note.ts'
import { signText } from './signer.ts'
import type { NoteSigner } from './signer.ts'
import { parseHash, parseSize, quoted } from './text.ts'
import type { VerifierKey } from './verifier-key.ts'

/** How large a log is, and what it contains. */
export interface TreeHead {
  /** Leaves. */
  readonly size: number
  /** Root hash, 32 bytes. */
  readonly root: Uint8Array
}

/** What a checkpoint says, c2sp.org/tlog-checkpoint. */
export interface Checkpoint extends TreeHead {
  /** Which log. */
  readonly origin: string
  /** Lines after the root hash; opaque. */
  readonly extensions: readonly string[]
}

/** The text of a checkpoint, to be signed. */
export function formatCheckpoint({ origin, size, root, extensions }: Checkpoint): string {
  return [origin, String(size), base64Encode(root), ...extensions].map((line) => `${line}\n`).join('')
}

/**
 * Reads the text of a checkpoint: shape only; the text has no meaning unless its note was verified.
 *
 * @throws {@link TlogError} `TLOG_CHECKPOINT`; a tree of no leaves must have the root of the empty tree.
 */
export function parseCheckpoint(text: string): Checkpoint {
  const [origin = '', sizeText = '', rootText = '', ...rest] = text.split('\n')
  const extensions = rest.slice(0, -1)
  const size = parseSize(sizeText)
  const root = parseHash(rootText)
  if (rest.at(-1) !== '' || extensions.includes('') || origin === '' || size === undefined || root === undefined) {
    throw new TlogError(
      'TLOG_CHECKPOINT',
      `Cannot read checkpoint of ${quoted(origin)}: expected lines origin, size, root hash`,
    )
  }
  if (extensions.length > MAX_EXTENSION_LINES || origin.length > MAX_NAME_BYTES) {
    throw new TlogError('TLOG_LIMIT', `Cannot read checkpoint of ${quoted(origin)}: its lines are too many or too long`)
  }
  if (size === 0 && !equalBytes(root, EMPTY_ROOT)) {
    throw new TlogError(
      'TLOG_CHECKPOINT',
      `Checkpoint of ${quoted(origin)} has no leaves and another root than that of the empty tree`,
    )
  }
  return { origin, size, root, extensions }
}

/** Options of {@link verifyCheckpoint}. */
export interface VerifyCheckpointOptions {
  /** Origin that the checkpoint must name. Default: the name of the key. */
  readonly origin?: string | undefined
}

/** A checkpoint whose log signature verified. */
export interface VerifiedCheckpoint extends Checkpoint {
  /** The note it came in; signatures of others are in it, not verified. */
  readonly note: SignedNote
}

/**
 * Verifies a checkpoint by the key of its log.
 *
 * @throws {@link TlogError} `TLOG_NOTE`, `TLOG_LIMIT`, `TLOG_SIGNATURE`, `TLOG_CHECKPOINT`.
 */
export function verifyCheckpoint(
  bytes: Uint8Array,
  key: VerifierKey,
  { origin = key.name }: VerifyCheckpointOptions = {},
): VerifiedCheckpoint {
  const note = parseNote(bytes)
  verifyNote(note, [key])
  const checkpoint = parseCheckpoint(note.text)
  if (checkpoint.origin !== origin) {
    throw new TlogError(
      'TLOG_CHECKPOINT',
      `Checkpoint is of the log ${quoted(checkpoint.origin)}, expected ${quoted(origin)}`,
    )
  }
  return { ...checkpoint, note }
}

/**
 * Makes a checkpoint and signs it.
 *
 * @param head - Size and root; the origin is the name of the signer's key.
 */
export async function signCheckpoint({ size, root }: TreeHead, signer: NoteSigner): Promise<Uint8Array<ArrayBuffer>> {
  const text = formatCheckpoint({ origin: signer.key.name, size, root, extensions: [] })
  return formatNote({ text, signatures: [await signText(text, signer)] })
}

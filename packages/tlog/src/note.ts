import { base64Encode, concatBytes, ed25519Verify, utf8Encode } from '@keyturn/primitives'
import { cosignedMessage, readCosignature } from './cosigned-message.ts'
import { TlogError } from './errors.ts'
import { MAX_NOTE_BYTES, MAX_SIGNATURES } from './limits.ts'
import { isKeyName, quoted, textOf, tryBase64 } from './text.ts'
import { isSameKey } from './verifier-key.ts'
import type { VerifierKey } from './verifier-key.ts'

/** One signature line of a note, not verified. */
export interface NoteSignature {
  /** Name of the key. */
  readonly name: string
  /** 4 bytes. */
  readonly keyId: Uint8Array
  /** What follows the id: for Ed25519 64 bytes, for cosignatures 72. */
  readonly signature: Uint8Array
}

/** A text and the signatures below it. Parsed, not verified: the text means nothing before {@link verifyNote}. */
export interface SignedNote {
  /** Ends in a newline. */
  readonly text: string
  /** In the order of the lines. */
  readonly signatures: readonly NoteSignature[]
}

/** A signature that verified. */
export interface VerifiedSignature {
  /** Who signed. */
  readonly key: VerifierKey
  /** When, in seconds since 1970, as a witness says; absent for signatures of logs, which have no time. */
  readonly timestamp: number | undefined
}

// eslint-disable-next-line no-control-regex -- control characters are what the format forbids
const CONTROL = /[\u0000-\u0009\u000b-\u001f]/

/**
 * Reads one signature line without its newline.
 *
 * @throws {@link TlogError} `TLOG_NOTE`.
 */
export function parseSignatureLine(line: string): NoteSignature {
  const parts = /^— ([^ ]+) ([A-Za-z0-9+/=]+)$/u.exec(line)
  const bytes = parts === null ? undefined : tryBase64(parts[2] as string)
  if (parts === null || bytes === undefined || bytes.length < 5 || !isKeyName(parts[1] as string)) {
    throw new TlogError('TLOG_NOTE', `Cannot read signature line ${quoted(line)}: expected "— <name> <base64>"`)
  }
  return { name: parts[1] as string, keyId: bytes.slice(0, 4), signature: bytes.slice(4) }
}

/** One signature as a line, its newline included. */
export function formatSignatureLine({ name, keyId, signature }: NoteSignature): string {
  return `— ${name} ${base64Encode(concatBytes(keyId, signature))}\n`
}

/**
 * Reads a signed note, c2sp.org/signed-note: shape only.
 *
 * @throws {@link TlogError} `TLOG_NOTE`, `TLOG_LIMIT`.
 */
export function parseNote(bytes: Uint8Array): SignedNote {
  const all = textOf(bytes, MAX_NOTE_BYTES, 'note', 'TLOG_NOTE')
  if (CONTROL.test(all)) throw new TlogError('TLOG_NOTE', 'Cannot read note: it has control characters')
  const split = all.lastIndexOf('\n\n')
  if (split < 0 || !all.endsWith('\n')) {
    throw new TlogError('TLOG_NOTE', 'Cannot read note: no empty line before the signatures, or no newline at the end')
  }
  const lines = all.slice(split + 2, -1).split('\n')
  if (lines.length > MAX_SIGNATURES) {
    throw new TlogError('TLOG_LIMIT', `Cannot read note: ${lines.length} signatures, limit ${MAX_SIGNATURES}`)
  }
  return { text: all.slice(0, split + 1), signatures: lines.map((line) => parseSignatureLine(line)) }
}

/** The bytes of a note. */
export function formatNote({ text, signatures }: SignedNote): Uint8Array<ArrayBuffer> {
  return utf8Encode(`${text}\n${signatures.map((signature) => formatSignatureLine(signature)).join('')}`)
}

/** Verifies one line by a key that it names; the time is that of a cosignature. */
function verifyLine(text: string, { signature }: NoteSignature, key: VerifierKey): VerifiedSignature | undefined {
  if (key.type === 'note') {
    return ed25519Verify(key.publicKey, utf8Encode(text), signature) ? { key, timestamp: undefined } : undefined
  }
  const read = readCosignature(signature)
  if (read === undefined) return undefined
  const message = cosignedMessage(text, read.timestamp)
  return ed25519Verify(key.publicKey, message, read.signature) ? { key, timestamp: read.timestamp } : undefined
}

/**
 * Verifies the lines of a note that are by known keys; others are ignored, as the format demands. A key counts once.
 *
 * @returns At least one signature, in the order of the lines.
 * @throws {@link TlogError} `TLOG_SIGNATURE` when no line is by a known key, or one that is does not verify.
 */
export function verifyNote(note: SignedNote, keys: readonly VerifierKey[]): VerifiedSignature[] {
  const verified: VerifiedSignature[] = []
  for (const line of note.signatures) {
    for (const key of keys.filter((each) => isSameKey(each, line))) {
      const one = verifyLine(note.text, line, key)
      if (one === undefined) throw new TlogError('TLOG_SIGNATURE', `Signature of ${quoted(line.name)} does not verify`)
      if (!verified.some((other) => other.key === key)) verified.push(one)
    }
  }
  if (verified.length === 0) {
    const names = keys.map((key) => quoted(key.name)).join(', ')
    throw new TlogError('TLOG_SIGNATURE', `Note is signed by none of the known keys: ${names}`)
  }
  return verified
}

import {
  base64Encode,
  concatBytes,
  ED25519_KEY_LENGTH,
  equalBytes,
  hexEncode,
  isStrongEd25519PublicKey,
  sha256,
  utf8Encode,
} from '@keyturn/primitives'
import { TlogError } from './errors.ts'
import { isKeyName, quoted, tryBase64 } from './text.ts'

/**
 * What a key signs: `note`, the plain text of a note (a log does); `cosignature`, a checkpoint and a time (a witness
 * does).
 */
export type KeyType = 'note' | 'cosignature'

const TYPE_BYTES: Readonly<Record<KeyType, number>> = { note: 0x01, cosignature: 0x04 }

/** A public key with the name under which it signs notes. */
export interface VerifierKey {
  /** Name in the signature line; of a log, its origin. */
  readonly name: string
  /** What its signatures are over. */
  readonly type: KeyType
  /** Ed25519 public key, 32 bytes. */
  readonly publicKey: Uint8Array
  /** 4 bytes: they find a key, they prove nothing. */
  readonly keyId: Uint8Array
}

/**
 * A verifier key from its parts, c2sp.org/signed-note.
 *
 * @param publicKey - 32 bytes, copied.
 * @throws {@link TlogError} `TLOG_VKEY` for a name with spaces or plus signs, or a weak key.
 */
export function verifierKey(name: string, type: KeyType, publicKey: Uint8Array): VerifierKey {
  if (!isKeyName(name)) {
    throw new TlogError(
      'TLOG_VKEY',
      `Cannot use ${quoted(name)} as name of a key: it is empty, too long, or has spaces or "+"`,
    )
  }
  if (publicKey.length !== ED25519_KEY_LENGTH || !isStrongEd25519PublicKey(publicKey)) {
    throw new TlogError('TLOG_VKEY', `Cannot use the public key of ${quoted(name)}: it is not a sound Ed25519 key`)
  }
  const typed = concatBytes(Uint8Array.of(TYPE_BYTES[type]), publicKey)
  const keyId = sha256(concatBytes(utf8Encode(`${name}\n`), typed)).slice(0, 4)
  return { name, type, publicKey: typed.slice(1), keyId }
}

/** The one-line form of a key: `<name>+<key id>+<type and key>`. */
export function formatVerifierKey(key: VerifierKey): string {
  const typed = concatBytes(Uint8Array.of(TYPE_BYTES[key.type]), key.publicKey)
  return `${key.name}+${hexEncode(key.keyId)}+${base64Encode(typed)}`
}

/**
 * Reads a key in its one-line form. The id in the line must fit name and key.
 *
 * @throws {@link TlogError} `TLOG_VKEY`; other types of key than the two of {@link KeyType} are refused by number.
 */
export function parseVerifierKey(text: string): VerifierKey {
  const parts = /^([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(text)
  const typed = parts === null ? undefined : tryBase64(parts[3] as string)
  if (parts === null || typed === undefined || typed.length === 0) {
    throw new TlogError('TLOG_VKEY', `Cannot read ${quoted(text)}: expected <name>+<key id>+<base64>`)
  }
  const type = (Object.keys(TYPE_BYTES) as KeyType[]).find((each) => TYPE_BYTES[each] === typed[0])
  if (type === undefined) {
    throw new TlogError('TLOG_VKEY', `Cannot use the key of ${quoted(parts[1] as string)}: its type is ${typed[0]}`, {
      hint: 'Supported are 1 (Ed25519) and 4 (Ed25519 cosignature)',
    })
  }
  const key = verifierKey(parts[1] as string, type, typed.subarray(1))
  if (hexEncode(key.keyId) !== parts[2]) {
    throw new TlogError(
      'TLOG_VKEY',
      `Cannot use the key of ${quoted(key.name)}: its id is ${parts[2]}, expected ${hexEncode(key.keyId)}`,
    )
  }
  return key
}

/** Whether two keys are the same pair of name and id, so that one signature line means both. */
export function isSameKey(
  left: Pick<VerifierKey, 'name' | 'keyId'>,
  right: Pick<VerifierKey, 'name' | 'keyId'>,
): boolean {
  return left.name === right.name && equalBytes(left.keyId, right.keyId)
}

import { ed25519PublicKey, ed25519Sign, utf8Encode } from '@keyturn/primitives'
import { cosignedMessage, writeCosignature } from './cosigned-message.ts'
import type { NoteSignature, SignedNote } from './note.ts'
import { verifierKey } from './verifier-key.ts'
import type { KeyType, VerifierKey } from './verifier-key.ts'

/** Something that signs notes under a name: a keystore, a token, a seed in memory. It never hands out a secret. */
export interface NoteSigner {
  /** Its public key. */
  readonly key: VerifierKey
  /**
   * Signs bytes with Ed25519.
   *
   * @returns 64 bytes.
   */
  sign(message: Uint8Array): Promise<Uint8Array> | Uint8Array
}

/**
 * A signer over a seed in memory. The seed is neither copied nor wiped: its owner does that.
 *
 * @param seed - Ed25519 seed, 32 bytes, secret.
 */
export function seedNoteSigner(name: string, type: KeyType, seed: Uint8Array): NoteSigner {
  return { key: verifierKey(name, type, ed25519PublicKey(seed)), sign: (message) => ed25519Sign(seed, message) }
}

/**
 * Signs a text: as it is with a key of type `note`, with a time with a key of type `cosignature`.
 *
 * @param timestamp - Seconds since 1970; needed for cosignatures.
 * @throws TypeError for a cosignature without a time.
 */
export async function signText(text: string, signer: NoteSigner, timestamp?: number): Promise<NoteSignature> {
  const { name, keyId, type } = signer.key
  if (type === 'note') return { name, keyId, signature: await signer.sign(utf8Encode(text)) }
  if (timestamp === undefined) throw new TypeError('A cosignature needs a time')
  const signature = await signer.sign(cosignedMessage(text, timestamp))
  return { name, keyId, signature: writeCosignature({ timestamp, signature }) }
}

/** Adds signatures below a note; lines of the same key are replaced. */
export function addSignatures(note: SignedNote, added: readonly NoteSignature[]): SignedNote {
  const replaced = (old: NoteSignature): boolean =>
    added.some((one) => one.name === old.name && one.keyId.every((byte, at) => byte === old.keyId[at]))
  return { text: note.text, signatures: [...note.signatures.filter((old) => !replaced(old)), ...added] }
}

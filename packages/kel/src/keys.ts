import { isStrongEd25519PublicKey } from '@keyturn/primitives'
import { encodeMatter, parseMatter } from './cesr/matter.ts'
import { ed25519KeyCodes } from './cesr/codes.ts'
import { nextKeyDigest } from './digest.ts'
import { refusal } from './rule.ts'

/**
 * An Ed25519 public key as qb64 text.
 *
 * @param publicKey - 32 bytes.
 * @param transferable - `false` for witnesses and ephemeral identities (code B). Default `true` (code D).
 * @throws {@link KelError} `KEL_KEY` for a key of low order.
 */
export function keyText(publicKey: Uint8Array, transferable = true): string {
  if (!isStrongEd25519PublicKey(new Uint8Array(publicKey)))
    throw refusal('KEL_KEY', 'Public key is of low order or not canonical')
  return encodeMatter(transferable ? 'D' : 'B', publicKey)
}

/** The 32 bytes of an Ed25519 key given as qb64 text. */
export function parseKeyText(text: string): Uint8Array {
  return parseMatter(text, 'key', ed25519KeyCodes).raw
}

/** The digest by which an event promises a next key (an Ed25519 public key of 32 bytes). */
export function nextDigestOf(publicKey: Uint8Array): string {
  return nextKeyDigest(keyText(publicKey))
}

import { blake2b256, ed25519Verify, equalBytes, isStrongEd25519PublicKey, requireBytes } from '@keyturn/primitives'
import { M2pError } from './errors.ts'
import type { ArchiveHeader } from './header.ts'

/** Public keys by key_id; several, so that release lines can overlap. */
export type Verifiers = ReadonlyMap<number, Uint8Array>

/** Who may have signed an archive. */
export interface TrustOptions {
  /**
   * Public keys by key_id. `'unchecked'` stops at the manifest's hash: for `list` and `diff`, which then say so;
   * nothing can be decrypted from such an archive.
   */
  readonly verifiers: Verifiers | 'unchecked'
  /** Key ids whose archives are refused though their public key is known. */
  readonly retiredKeyIds?: ReadonlySet<number>
}

/**
 * Refuses what is not a set of verifiers at the door.
 *
 * @throws TypeError.
 */
export function checkVerifiers(verifiers: Verifiers | 'unchecked'): void {
  const { get } = (verifiers ?? {}) as { readonly get?: unknown }
  if (verifiers !== 'unchecked' && typeof get !== 'function')
    throw new TypeError("verifiers must be a Map of public keys by key_id, or 'unchecked'")
}

/**
 * Refuses a public key that proves nothing: low order or not canonical.
 *
 * @throws {@link M2pError} `M2P_KEY_INVALID`.
 */
export function checkPublicKey(publicKey: Uint8Array): void {
  requireBytes(publicKey, 'publicKey')
  if (publicKey.length !== 32 || !isStrongEd25519PublicKey(publicKey)) {
    throw new M2pError(
      'M2P_KEY_INVALID',
      'The public key is not a valid Ed25519 key: its length, its order or its encoding is wrong',
    )
  }
}

/**
 * Verifies a manifest before it is parsed: hash, then signature under the verifier that the key_id names.
 *
 * @throws {@link M2pError} `M2P_MANIFEST_HASH`, `M2P_KEY_RETIRED`, `M2P_KEY_ID_UNKNOWN`, `M2P_KEY_INVALID`,
 *   `M2P_SIGNATURE`.
 */
export function checkManifest(header: ArchiveHeader, manifest: Uint8Array, trust: TrustOptions): void {
  if (!equalBytes(blake2b256(manifest), header.manifestHash)) {
    throw new M2pError('M2P_MANIFEST_HASH', 'The manifest does not have the hash that the header names')
  }
  if (trust.verifiers === 'unchecked') return
  if (trust.retiredKeyIds?.has(header.keyId) === true) {
    throw new M2pError('M2P_KEY_RETIRED', `The archive is of key_id ${header.keyId}, which was retired`, {
      details: { keyId: header.keyId },
    })
  }
  const publicKey = trust.verifiers.get(header.keyId)
  if (publicKey === undefined) {
    throw new M2pError(
      'M2P_KEY_ID_UNKNOWN',
      `The archive is of key_id ${header.keyId}, for which no public key is known`,
      {
        details: { keyId: header.keyId },
      },
    )
  }
  checkPublicKey(publicKey)
  if (!ed25519Verify(publicKey, manifest, header.signature)) {
    throw new M2pError('M2P_SIGNATURE', `The manifest is not signed by the key of key_id ${header.keyId}`, {
      details: { keyId: header.keyId },
    })
  }
}

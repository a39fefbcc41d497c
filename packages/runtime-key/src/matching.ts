import { equalBytes, hexEncode, utf8Encode } from '@keyturn/primitives'
import { RuntimeKeyError } from './errors.ts'
import { keyCommitment } from './runtime-key.ts'
import type { RuntimeKey } from './runtime-key.ts'

/** An entry of `content_keys` in a signed manifest, as the manifest's model has it. */
export interface ContentKeyEntry {
  readonly keyId: number
  /** Ed25519 verifier, 64 lower-case hexadecimal digits. */
  readonly verifierPub: string
  /** Key commitment of the archives, 64 lower-case hexadecimal digits. */
  readonly commitment: string
  readonly status: 'active' | 'retired' | 'revoked'
}

/**
 * Stops where the key is for other archives.
 *
 * @param archiveKeyId - `key_id` of the archive header.
 * @throws {@link RuntimeKeyError} `RK_KEY_ID_MISMATCH`.
 */
export function assertKeyIdMatches(runtimeKey: RuntimeKey, archiveKeyId: number): void {
  if (runtimeKey.keyId === archiveKeyId) return
  throw new RuntimeKeyError(
    'RK_KEY_ID_MISMATCH',
    `Runtime key is for key_id ${runtimeKey.keyId}, the archives have ${archiveKeyId}`,
    { details: { runtimeKeyId: runtimeKey.keyId, archiveKeyId } },
  )
}

/**
 * Stops the launch unless the signed manifest lists exactly this key: `key_id`, verifier and key commitment equal.
 * There is no fallback.
 *
 * @param contentKeys - `content_keys` of a manifest that has been verified.
 * @throws {@link RuntimeKeyError} `RK_KEY_ID_MISMATCH` (not listed), `RK_KEY_MISMATCH` (listed otherwise, or listed
 *   twice), `RK_KEY_REVOKED`.
 */
export function assertListed(runtimeKey: RuntimeKey, contentKeys: readonly ContentKeyEntry[]): void {
  const { keyId } = runtimeKey
  const details = { keyId }
  const [entry, second] = contentKeys.filter((listed) => listed.keyId === keyId)
  if (entry === undefined) {
    throw new RuntimeKeyError('RK_KEY_ID_MISMATCH', `The manifest lists no content key ${keyId}`, { details })
  }
  const verifier = runtimeKey.signPublicKey
  // A commitment is not secret, yet it is compared like one: it costs nothing and no reader has to wonder.
  const sameKey =
    second === undefined &&
    verifier !== undefined &&
    equalText(entry.verifierPub, hexEncode(verifier)) &&
    equalText(entry.commitment, hexEncode(keyCommitment(runtimeKey)))
  if (!sameKey) {
    throw new RuntimeKeyError('RK_KEY_MISMATCH', `The manifest lists another key under key_id ${keyId}`, { details })
  }
  if (entry.status === 'revoked') {
    throw new RuntimeKeyError('RK_KEY_REVOKED', `The manifest lists content key ${keyId} as revoked`, { details })
  }
}

function equalText(a: string, b: string): boolean {
  return a.length === b.length && equalBytes(utf8Encode(a), utf8Encode(b))
}

import { concatBytes, hkdfSha256, openXChaCha20Poly1305, sealXChaCha20Poly1305, wipe } from '@keyturn/primitives'
import type { RandomSource } from '@keyturn/primitives'
import { hedgeKey, hedgedBytes, plaintextDigest } from './hedged.ts'
import { labels } from './labels.ts'
import { be32, lengthPrefixed } from './length-prefixed.ts'
import { KEY_BYTES } from './limits.ts'
import type { WrapContext } from './master-key-provider.ts'

// offset  size  field                        docs/spec/vault-kdf.md §7
//  0      24    nonce    random, hedged
// 24      32    master   XChaCha20-Poly1305
// 56      16    tag
const NONCE_BYTES = 24

/** Bytes of a wrapped secret of 32 bytes. */
export const WRAPPED_BYTES = NONCE_BYTES + KEY_BYTES + 16

function contextBytes(context: WrapContext): Uint8Array {
  return lengthPrefixed(labels.wrap, context.vaultId, be32(context.keyVersion), context.purpose)
}

/**
 * Wraps a master key under a key-encryption key: nonce ‖ ciphertext ‖ tag, 72 bytes, bound to its context.
 *
 * @param kek - 32 bytes, secret; neither kept nor modified.
 */
export function wrapMaster(
  kek: Uint8Array,
  master: Uint8Array,
  context: WrapContext,
  random: RandomSource,
): Uint8Array {
  return sealSecret(wrapKey(kek), master, contextBytes(context), random)
}

function wrapKey(kek: Uint8Array): Uint8Array {
  return hkdfSha256(kek, new Uint8Array(0), lengthPrefixed(labels.wrap), KEY_BYTES)
}

/**
 * Seals a secret of 32 bytes: nonce ‖ ciphertext ‖ tag, 72 bytes. The nonce is hedged, so that a repeated state of the
 * random source does not repeat it.
 *
 * @param key - 32 bytes, derived for this alone; wiped here.
 * @param aad - What the secret is bound to.
 */
export function sealSecret(key: Uint8Array, secret: Uint8Array, aad: Uint8Array, random: RandomSource): Uint8Array {
  const hedge = hedgeKey(key)
  try {
    const nonce = hedgedBytes(hedge, random(NONCE_BYTES), NONCE_BYTES, aad, plaintextDigest(secret))
    return concatBytes(nonce, sealXChaCha20Poly1305(key, nonce, secret, { aad }))
  } finally {
    wipe(key, hedge)
  }
}

/**
 * Opens what {@link sealSecret} made; the caller wipes the result.
 *
 * @param key - As for {@link sealSecret}; wiped here.
 * @throws PrimitivesError `PRIM_DECRYPT`.
 */
export function openSecret(key: Uint8Array, wrapped: Uint8Array, aad: Uint8Array): Uint8Array {
  try {
    return openXChaCha20Poly1305(key, wrapped.subarray(0, NONCE_BYTES), wrapped.subarray(NONCE_BYTES), { aad })
  } finally {
    wipe(key)
  }
}

/**
 * Opens what {@link wrapMaster} made; the caller wipes the result.
 *
 * @throws PrimitivesError `PRIM_DECRYPT`.
 */
export function unwrapMaster(kek: Uint8Array, wrapped: Uint8Array, context: WrapContext): Uint8Array {
  return openSecret(wrapKey(kek), wrapped, contextBytes(context))
}

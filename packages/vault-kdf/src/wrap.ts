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
  const key = hkdfSha256(kek, new Uint8Array(0), lengthPrefixed(labels.wrap), KEY_BYTES)
  const hedge = hedgeKey(key)
  const aad = contextBytes(context)
  try {
    const nonce = hedgedBytes(hedge, random(NONCE_BYTES), NONCE_BYTES, aad, plaintextDigest(master))
    return concatBytes(nonce, sealXChaCha20Poly1305(key, nonce, master, { aad }))
  } finally {
    wipe(key, hedge)
  }
}

/**
 * Opens what {@link wrapMaster} made; the caller wipes the result.
 *
 * @throws PrimitivesError `PRIM_DECRYPT`.
 */
export function unwrapMaster(kek: Uint8Array, wrapped: Uint8Array, context: WrapContext): Uint8Array {
  const key = hkdfSha256(kek, new Uint8Array(0), lengthPrefixed(labels.wrap), KEY_BYTES)
  try {
    return openXChaCha20Poly1305(key, wrapped.subarray(0, NONCE_BYTES), wrapped.subarray(NONCE_BYTES), {
      aad: contextBytes(context),
    })
  } finally {
    wipe(key)
  }
}

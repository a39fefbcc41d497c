import { PrimitivesError, hkdfSha256, wipe } from '@keyturn/primitives'
import type { RandomSource } from '@keyturn/primitives'
import { VaultError } from '../errors.ts'
import { hedgeKey, hedgedBytes } from '../hedged.ts'
import { labels } from '../labels.ts'
import { be32, lengthPrefixed, utf8 } from '../length-prefixed.ts'
import { KEY_BYTES } from '../limits.ts'
import { openSecret, sealSecret, WRAPPED_BYTES } from '../wrap.ts'

// offset  size  field                        docs/spec/vault-kdf.md §7.4
//  0      24    nonce    random, hedged
// 24      32    secret   XChaCha20-Poly1305 under a key of the master
// 56      16    tag

/** Bytes of a wrapped partition secret. */
export const WRAPPED_SECRET_BYTES = WRAPPED_BYTES

/** What a wrapped secret is bound to. */
export interface SecretBinding {
  readonly vaultId: string
  /** Version of the master it is wrapped under. */
  readonly keyVersion: number
  /** Of the partition: the sweep wraps secrets again without knowing the ids. */
  readonly digest: string
}

const wrapKey = (master: Uint8Array): Uint8Array =>
  hkdfSha256(master, new Uint8Array(0), lengthPrefixed(labels.partitionWrap), KEY_BYTES)

const additionalData = ({ vaultId, keyVersion, digest }: SecretBinding): Uint8Array =>
  lengthPrefixed(labels.partitionWrap, vaultId, be32(keyVersion), digest)

/**
 * A fresh secret. Hedged: two machines with one random state must not give two partitions one secret, or the secret
 * that is destroyed for one would live on in the other.
 *
 * @param auditSecret - Secret of the vault; neither kept nor modified.
 * @param nowMs - Milliseconds since 1970.
 */
export function newPartitionSecret(
  auditSecret: Uint8Array,
  partition: string,
  nowMs: number,
  random: RandomSource,
): Uint8Array {
  const key = hedgeKey(auditSecret)
  try {
    const message = [utf8(labels.partitionSecret), utf8(partition), utf8(String(nowMs))]
    return hedgedBytes(key, random(KEY_BYTES), KEY_BYTES, ...message)
  } finally {
    wipe(key)
  }
}

/** Wraps the secret of a partition under a master: 72 bytes, bound to vault, version and partition (by its digest). */
export function wrapPartitionSecret(
  master: Uint8Array,
  secret: Uint8Array,
  binding: SecretBinding,
  random: RandomSource,
): Uint8Array {
  return sealSecret(wrapKey(master), secret, additionalData(binding), random)
}

/**
 * Opens what {@link wrapPartitionSecret} made; the caller wipes the result.
 *
 * @throws VaultError `VK_PARTITION_SECRET`.
 */
export function unwrapPartitionSecret(master: Uint8Array, wrapped: Uint8Array, binding: SecretBinding): Uint8Array {
  try {
    return openSecret(wrapKey(master), wrapped, additionalData(binding))
  } catch (cause) {
    if (!(cause instanceof PrimitivesError)) throw cause
    throw new VaultError('VK_PARTITION_SECRET', 'The secret of the partition does not open: it was changed', { cause })
  }
}

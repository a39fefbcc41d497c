import {
  PrimitivesError,
  Reader,
  concatBytes,
  hkdfSha256,
  openXChaCha20Poly1305,
  sealXChaCha20Poly1305,
  utf8Decode,
  wipe,
} from '@keyturn/primitives'
import type { RandomSource } from '@keyturn/primitives'
import type { PartitionKey } from './derive.ts'
import { hedgeKey, hedgedBytes } from './hedged.ts'
import { labels } from './labels.ts'
import { be32, lengthPrefixed } from './length-prefixed.ts'
import { KEY_BYTES, MAX_ID_BYTES } from './limits.ts'
import type { LayerContext, Place, RecordId } from './place.ts'

// offset  size  field                        docs/spec/vault-kdf.md §7.3
//  0       4    key version   u32 big-endian
//  4      24    nonce         random, hedged
// 28       …    context ids   LP(policy) LP(session), XChaCha20-Poly1305
const NONCE_BYTES = 24
const VERSION_BYTES = 4

function additionalData(version: number, id: Omit<RecordId, 'partition'>): Uint8Array {
  return lengthPrefixed(labels.sidecar, be32(version), id.cell, id.name)
}

function sidecarKey(partitionKey: PartitionKey): Uint8Array {
  return hkdfSha256(partitionKey, new Uint8Array(0), lengthPrefixed(labels.sidecar), KEY_BYTES)
}

/**
 * Seals the context ids of a gated record for the sweep, which has no token. The price is small: who holds the
 * partition key opens every layer by guessing the ids anyway, for they are labels and no secrets.
 */
export function sealSidecar(
  partitionKey: PartitionKey,
  version: number,
  place: Omit<Place, 'partition'>,
  random: RandomSource,
): Uint8Array {
  const key = sidecarKey(partitionKey)
  const hedge = hedgeKey(key)
  const ids = lengthPrefixed(place.context.policy ?? '', place.layer === 2 ? (place.context.session ?? '') : '')
  const aad = additionalData(version, place)
  try {
    const nonce = hedgedBytes(hedge, random(NONCE_BYTES), NONCE_BYTES, aad, ids)
    return concatBytes(be32(version), nonce, sealXChaCha20Poly1305(key, nonce, ids, { aad }))
  } finally {
    wipe(key, hedge)
  }
}

/** The key version of a sidecar. */
export function sidecarVersion(sidecar: Uint8Array): number {
  return new Reader(sidecar).u32be('key version')
}

/** Opens a sidecar; `undefined` when it does not belong here. */
export function openSidecar(
  partitionKey: PartitionKey,
  id: Omit<RecordId, 'partition'>,
  sidecar: Uint8Array,
): LayerContext | undefined {
  const key = sidecarKey(partitionKey)
  try {
    const nonce = sidecar.subarray(VERSION_BYTES, VERSION_BYTES + NONCE_BYTES)
    const ids = openXChaCha20Poly1305(key, nonce, sidecar.subarray(VERSION_BYTES + NONCE_BYTES), {
      aad: additionalData(sidecarVersion(sidecar), id),
    })
    const reader = new Reader(ids)
    const policy = utf8Decode(reader.bytes(reader.u32be('policy length', { max: MAX_ID_BYTES }), 'policy'))
    const session = utf8Decode(reader.bytes(reader.u32be('session length', { max: MAX_ID_BYTES }), 'session'))
    return { policy, ...(session === '' ? {} : { session }) }
  } catch (error) {
    if (error instanceof PrimitivesError) return undefined
    throw error
  } finally {
    wipe(key)
  }
}

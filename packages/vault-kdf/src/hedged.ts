import { hkdfSha256, hmacSha256, sha256, wipe } from '@keyturn/primitives'
import { labels } from './labels.ts'
import { be32, lengthPrefixed, utf8 } from './length-prefixed.ts'
import { KEY_BYTES } from './limits.ts'
import type { Place } from './place.ts'

const SALT_BYTES = 32

/**
 * The key behind `hedgedBytes`: what the bytes are made from stays hidden even where the random part repeats.
 *
 * @param secret - 32 bytes, secret; neither kept nor modified.
 * @returns A fresh 32-byte key; the caller wipes it.
 */
export function hedgeKey(secret: Uint8Array): Uint8Array {
  return hkdfSha256(secret, new Uint8Array(0), lengthPrefixed(labels.hedge), KEY_BYTES)
}

/** What a plaintext brings into `hedgedBytes`. Secret: it is hashed under the key and never shown. */
export function plaintextDigest(plaintext: Uint8Array): Uint8Array {
  return sha256(plaintext)
}

/** A message that is about to be sealed. */
export interface MessageToSeal {
  readonly place: Place
  readonly keyVersion: number
  readonly plaintext: Uint8Array
}

/** The salt of one message under a key of {@link hedgeKey}; `random` has 32 bytes. */
export function messageSalt(key: Uint8Array, random: Uint8Array, message: MessageToSeal): Uint8Array {
  const { partition, cell, name, layer, context } = message.place
  const ids = [partition, cell, name, context.policy ?? '', context.session ?? ''].map(utf8)
  return hedgedBytes(
    key,
    random,
    SALT_BYTES,
    be32(message.keyVersion),
    be32(layer),
    ...ids,
    plaintextDigest(message.plaintext),
  )
}

/**
 * A salt for {@link sealEnvelope} that stays safe when the random state repeats; see `hedgedBytes`.
 *
 * @param secret - 32 bytes, secret: the partition key, say. Neither kept nor modified.
 * @param random - 32 fresh random bytes.
 */
export function hedgedSalt(secret: Uint8Array, random: Uint8Array, message: MessageToSeal): Uint8Array {
  const key = hedgeKey(secret)
  try {
    return messageSalt(key, random, message)
  } finally {
    wipe(key)
  }
}

/**
 * Salt or nonce of one message: HMAC over random bytes and everything the message is. With a sound random source it is
 * random; where two machines share one random state (a restored snapshot), it still differs for whatever differs, so
 * no two messages share their keys. Only the same plaintext at the same place gives the same bytes.
 *
 * @param key - {@link hedgeKey}.
 * @param random - Fresh random bytes, 24 at least.
 * @param length - Bytes wanted, at most 32.
 * @param message - Place and content of the message.
 */
export function hedgedBytes(
  key: Uint8Array,
  random: Uint8Array,
  length: number,
  ...message: readonly Uint8Array[]
): Uint8Array {
  return hmacSha256(key, lengthPrefixed(labels.hedge, random, ...message)).slice(0, length)
}

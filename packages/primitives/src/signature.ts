import * as backend from '#backend'
import { compareBytes } from './bytes.ts'
import { hexDecode, hexEncode } from './encodings.ts'
import { requireLength } from './lengths.ts'

/** Bytes of an Ed25519 public key, and of the seed it is made from. */
export const ED25519_KEY_LENGTH = 32
/** Bytes of an Ed25519 signature. */
export const ED25519_SIGNATURE_LENGTH = 64

// 2^255 - 19, big-endian: the first value of y that has a second spelling.
const FIELD_PRIME = hexDecode(`7f${'ff'.repeat(30)}ed`)

// y of the points of order 1, 2, 4 and 8, the sign bit cleared, and their spellings at or above p.
// Source: libsodium's and OpenSSL's blocklists; Chalkias et al., "Taming the many EdDSAs".
const LOW_ORDER_Y = new Set([
  '00'.repeat(32),
  `01${'00'.repeat(31)}`,
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  `ec${'ff'.repeat(30)}7f`,
  `ed${'ff'.repeat(30)}7f`,
  `ee${'ff'.repeat(30)}7f`,
])

const LOW_ORDER_LAST = new Set([...LOW_ORDER_Y].map((y) => Number.parseInt(y.slice(-2), 16)))

/** Whether an encoded point lies outside the eight of low order, in any spelling. */
function hasFullOrder(point: Uint8Array): boolean {
  // All of them end in one of four bytes: most points need no look at the rest.
  if (!LOW_ORDER_LAST.has((point[31] as number) & 0x7f)) return true
  const y = new Uint8Array(point) // a copy; slice() of a Buffer would share its memory
  y[31] = (y[31] as number) & 0x7f
  return !LOW_ORDER_Y.has(hexEncode(y))
}

function isCanonical(point: Uint8Array): boolean {
  const y = new Uint8Array(point).reverse()
  y[0] = (y[0] as number) & 0x7f
  return compareBytes(y, FIELD_PRIME) < 0
}

/** Whether 32 bytes are canonical and of full order, so that signatures under them mean something. */
export function isStrongEd25519PublicKey(publicKey: Uint8Array): boolean {
  return publicKey.length === ED25519_KEY_LENGTH && isCanonical(publicKey) && hasFullOrder(publicKey)
}

/** The Ed25519 public key (32 bytes) of a 32-byte seed (RFC 8032 §5.1.5). */
export function ed25519PublicKey(seed: Uint8Array): Uint8Array<ArrayBuffer> {
  requireLength(seed, ED25519_KEY_LENGTH, 'seed')
  return backend.ed25519PublicKey(seed)
}

/**
 * Signs with Ed25519 (RFC 8032 §5.1.6).
 *
 * @param seed - 32 bytes, secret; not modified.
 * @param message - The bytes to sign.
 * @returns 64 bytes.
 */
export function ed25519Sign(seed: Uint8Array, message: Uint8Array): Uint8Array<ArrayBuffer> {
  requireLength(seed, ED25519_KEY_LENGTH, 'seed')
  return backend.ed25519Sign(seed, message)
}

/**
 * Verifies an Ed25519 signature by the one rule of this project: canonical key, S below the group order,
 * neither A nor R of low order, cofactorless equation. Wrong lengths and weak keys are just not valid.
 */
export function ed25519Verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  if (signature.length !== ED25519_SIGNATURE_LENGTH || !isStrongEd25519PublicKey(publicKey)) return false
  return hasFullOrder(signature.subarray(0, 32)) && backend.ed25519Verify(publicKey, message, signature)
}

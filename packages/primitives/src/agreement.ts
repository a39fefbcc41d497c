import * as backend from '#backend'
import { PrimitivesError } from './errors.ts'
import { requireLength } from './lengths.ts'

/** Bytes of an X25519 key, public or secret. */
const X25519_KEY_LENGTH = 32

/** The X25519 public key (32 bytes) of a 32-byte secret (RFC 7748 §6.1). */
export function x25519PublicKey(secret: Uint8Array): Uint8Array<ArrayBuffer> {
  requireLength(secret, X25519_KEY_LENGTH, 'secret')
  return backend.x25519PublicKey(secret)
}

/**
 * Agrees on a shared secret (RFC 7748 §6.1).
 *
 * @param secret - 32 bytes, ours; not modified.
 * @param publicKey - 32 bytes, theirs.
 * @returns 32 secret bytes; hash them before use, wipe them after.
 * @throws {@link PrimitivesError} `PRIM_KEY_INVALID` where `publicKey` is of low order (all-zero result).
 */
export function x25519(secret: Uint8Array, publicKey: Uint8Array): Uint8Array<ArrayBuffer> {
  requireLength(secret, X25519_KEY_LENGTH, 'secret')
  requireLength(publicKey, X25519_KEY_LENGTH, 'publicKey')
  const shared = backend.x25519(secret, publicKey)
  if (shared.every((byte) => byte === 0)) {
    throw new PrimitivesError('PRIM_KEY_INVALID', 'Cannot agree on a secret: the other public key is of low order')
  }
  return shared
}

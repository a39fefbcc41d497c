import { concatBytes, ed25519PublicKey, ed25519Sign, ed25519Verify, sha256, utf8Encode } from '@keyturn/primitives'
import { NoiseKeysError } from './errors.ts'
import { LABELS } from './labels.ts'
import { canonicalX25519PublicKey } from './public-key.ts'

/** What a binding says: this key belongs to this device of this identity. Nothing about time or state. */
export interface KeyBinding {
  /** Ed25519 public key of the transport identity. */
  readonly identity: Uint8Array
  /** X25519 public key of the device. */
  readonly publicKey: Uint8Array
  readonly deviceId: string
}

/** The bytes whose SHA-256 is signed; a signer that can show text should show this, not the hash. */
export function keyBindingPreimage({ identity, publicKey, deviceId }: KeyBinding): Uint8Array {
  return concatBytes(utf8Encode(LABELS.binding), identity, publicKey, utf8Encode(deviceId))
}

/**
 * Signs a binding with the cold key, docs/spec/noise-keys.md §2.
 *
 * @param seed - Ed25519 seed of the identity; neither kept nor modified. The public key is recomputed from it.
 * @returns 64 bytes.
 */
export function signKeyBinding(seed: Uint8Array, publicKey: Uint8Array, deviceId: string): Uint8Array {
  const preimage = keyBindingPreimage({ identity: ed25519PublicKey(seed), publicKey, deviceId })
  return ed25519Sign(seed, sha256(preimage))
}

/**
 * Verifies a binding: strict Ed25519, and a transport key that is of use.
 *
 * @throws {@link NoiseKeysError} `NK_BINDING_SIGNATURE`, `NK_KEY`, `NK_LOW_ORDER`.
 */
export function verifyKeyBinding(binding: KeyBinding, signature: Uint8Array): void {
  canonicalX25519PublicKey(binding.publicKey)
  if (!ed25519Verify(binding.identity, sha256(keyBindingPreimage(binding)), signature)) {
    throw new NoiseKeysError('NK_BINDING_SIGNATURE', 'The signature does not bind this key to this identity and device')
  }
}

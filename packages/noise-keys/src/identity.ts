import {
  ed25519PublicKey,
  isStrongEd25519PublicKey,
  requireBytes,
  systemRandom,
  z32Decode,
  z32Encode,
} from '@keyturn/primitives'
import type { RandomSource } from '@keyturn/primitives'
import { NoiseKeysError } from './errors.ts'

/** Bytes of a seed, a public key and a secret key alike. */
export const KEY_LENGTH = 32
/** A URL with a name in it is no longer than this. */
const MAX_NAME_TEXT = 2048

/** The public side of a transport identity: a cold Ed25519 key whose name never changes. */
export interface TransportIdentity {
  /** Ed25519 public key, 32 bytes. */
  readonly publicKey: Uint8Array
  /** Its name: 52 characters of z-base-32. */
  readonly name: string
}

/**
 * Makes a transport identity.
 *
 * @param random - Source of its seed; the system's by default.
 * @returns The public side, and the 32-byte seed, which is secret and the caller's to store and wipe.
 */
export function createTransportIdentity(
  random: RandomSource = systemRandom,
): TransportIdentity & { readonly seed: Uint8Array } {
  const seed = random(KEY_LENGTH)
  return { seed, ...transportIdentity(ed25519PublicKey(seed)) }
}

/**
 * The identity of an Ed25519 public key.
 *
 * @throws {@link NoiseKeysError} `NK_IDENTITY` for a key that is not canonical or of low order.
 */
export function transportIdentity(publicKey: Uint8Array): TransportIdentity {
  requireBytes(publicKey, 'publicKey')
  if (!isStrongEd25519PublicKey(publicKey)) {
    throw new NoiseKeysError('NK_IDENTITY', 'Transport identity is not a canonical Ed25519 public key of full order')
  }
  return { publicKey: publicKey.slice(), name: z32Encode(publicKey) }
}

/**
 * Reads a name: bare, `pk:` or `pubky` in front, or a URL whose last host label is the name.
 *
 * @throws {@link NoiseKeysError} `NK_IDENTITY`.
 */
export function parseIdentityName(text: string): TransportIdentity {
  if (text.length > MAX_NAME_TEXT)
    throw new NoiseKeysError('NK_IDENTITY', `Transport identity has ${text.length} characters`)
  const host = text
    .replace(/^[a-z][a-z0-9+.-]*:\/\//, '')
    .replace(/[/?#].*$/s, '')
    .replace(/:\d+$/, '')
  const label = host.replace(/^pk:/, '').split('.').at(-1) ?? ''
  const name = label.length === 57 && label.startsWith('pubky') ? label.slice(5) : label
  let publicKey: Uint8Array
  try {
    publicKey = z32Decode(name)
  } catch (cause) {
    throw new NoiseKeysError('NK_IDENTITY', 'Transport identity is not written in z-base-32', { cause })
  }
  return transportIdentity(publicKey)
}

import { hexDecode, x25519 } from '@keyturn/primitives'
import { NoiseKeysError } from './errors.ts'
import { KEY_LENGTH } from './identity.ts'

/** A scalar of our own: what is of low order gives zero with every scalar. */
const PROBE = hexDecode(`40${'00'.repeat(30)}40`)
/** 2^255 - 19, little-endian. */
const PRIME = hexDecode(`ed${'ff'.repeat(30)}7f`)

/**
 * Checks an X25519 public key from outside and brings it into its one canonical form, so that a cache never holds
 * one key twice (bit 255 is ignored by X25519, values from p up are another spelling of small ones).
 *
 * @returns A fresh copy, canonical.
 * @throws {@link NoiseKeysError} `NK_KEY` (length), `NK_LOW_ORDER`.
 */
export function canonicalX25519PublicKey(publicKey: Uint8Array): Uint8Array {
  if (publicKey.length !== KEY_LENGTH) {
    throw new NoiseKeysError('NK_KEY', `X25519 public key has ${publicKey.length} bytes, wanted ${KEY_LENGTH}`)
  }
  const canonical = Uint8Array.from(publicKey)
  canonical[31] = (canonical[31] ?? 0) & 127
  if (!isBelowPrime(canonical)) subtractPrime(canonical)
  assertNotLowOrder(canonical)
  return canonical
}

function assertNotLowOrder(publicKey: Uint8Array): void {
  try {
    x25519(PROBE, publicKey)
  } catch (cause) {
    throw new NoiseKeysError('NK_LOW_ORDER', 'X25519 public key is of low order', { cause })
  }
}

function isBelowPrime(value: Uint8Array): boolean {
  for (let at = KEY_LENGTH - 1; at >= 0; at -= 1) {
    const difference = (value[at] ?? 0) - (PRIME[at] ?? 0)
    if (difference !== 0) return difference < 0
  }
  return false
}

/** `value` is from p to 2^255 - 1, so the difference is below 19. */
function subtractPrime(value: Uint8Array): void {
  const small = (value[0] ?? 0) - (PRIME[0] ?? 0)
  value.fill(0)
  value[0] = small
}

import { base64Encode, wipe } from '@keyturn/primitives'
import {
  deriveX25519ForDeviceEpoch,
  deriveX25519Prehistoric,
  deriveX25519Static,
  deriveNoiseSeed,
  transportPublicKey,
} from './derive.ts'
import type { Generation } from './derive.ts'
import { NoiseKeysError } from '../errors.ts'
import type { OwnKey } from './metadata.ts'

/** What a derivation is made from. */
export interface DerivationPlace {
  readonly generation: Generation
  readonly device: string
  /** The device id by default, as deployed readers have it. */
  readonly context?: string | undefined
  /** 0 by default. */
  readonly epoch?: number | undefined
}

/**
 * Derives a secret by the generation that is asked for.
 *
 * @param seed - Ed25519 seed of the identity; neither kept nor modified.
 * @returns A fresh X25519 secret key of 32 bytes; the caller wipes it.
 * @throws {@link NoiseKeysError} `NK_KDF` for `random` keys, which are not derived at all.
 */
export function deriveTransportSecret(seed: Uint8Array, place: DerivationPlace): Uint8Array {
  const context = place.context ?? place.device
  const epoch = place.epoch ?? 0
  switch (place.generation) {
    case 'G2':
      return deriveX25519Static(seed, context)
    case 'G1':
      return deriveX25519ForDeviceEpoch(seed, context, epoch, { allowShortDeviceId: true })
    case 'G0':
      return deriveX25519Prehistoric(seed, { deviceId: context, epoch })
    case 'G1+': {
      const noiseSeed = deriveNoiseSeed(seed, context)
      try {
        return deriveX25519ForDeviceEpoch(noiseSeed, context, epoch, { allowShortDeviceId: true })
      } finally {
        wipe(noiseSeed)
      }
    }
    case 'random':
      throw new NoiseKeysError('NK_KDF', 'A random key is not derived: its secret is where it was made')
    default:
      throw new NoiseKeysError('NK_KDF', `There is no generation "${String(place.generation)}"`)
  }
}

/**
 * Derives the secret of a key in the metadata again, and proves that it is the one that was published.
 *
 * @throws {@link NoiseKeysError} `NK_KDF`; `NK_METADATA` when the seed gives another key.
 */
export function recoverTransportSecret(seed: Uint8Array, key: OwnKey): Uint8Array {
  const secret = deriveTransportSecret(seed, key)
  if (base64Encode(transportPublicKey(secret)) === key.publicKey) return secret
  wipe(secret)
  throw new NoiseKeysError(
    'NK_METADATA',
    `Seed and context give another key than the one published for device "${key.device}"`,
  )
}

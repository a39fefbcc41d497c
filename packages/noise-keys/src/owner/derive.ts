import {
  concatBytes,
  hkdfSha256,
  hkdfSha512,
  sha512,
  utf8Encode,
  wipe,
  Writer,
  x25519PublicKey,
} from '@keyturn/primitives'
import { NoiseKeysError } from '../errors.ts'
import { KEY_LENGTH } from '../identity.ts'
import { LABELS } from '../labels.ts'

/** Which of the derivations in the wild made a key; `random` keys are made by the device and only bound. */
export type Generation = 'G0' | 'G1' | 'G1+' | 'G2' | 'random'

/** Shortest device id the deployed G1 derivation takes since 2026-01-16. */
export const G1_MIN_DEVICE_ID_BYTES = 16

/** How {@link deriveX25519ForDeviceEpoch} checks. */
export interface DeviceEpochOptions {
  /** Take device ids under 16 bytes, as all releases before 2026-01-16 did. Default false. */
  readonly allowShortDeviceId?: boolean | undefined
}

/**
 * Derives a transport key from the cold seed and a context (generation G2, what this tool uses): HKDF-SHA-512,
 * clamped. docs/spec/noise-keys.md §1.
 *
 * @param seed - The Ed25519 seed, 32 bytes, secret; neither kept nor modified.
 * @param context - Text (as UTF-8) or bytes; may be empty. Deployed readers take the device id for it.
 * @returns A fresh X25519 secret key of 32 bytes; the caller wipes it.
 * @throws {@link NoiseKeysError} `NK_KEY` when the seed is not 32 bytes long.
 * @example `const secret = deriveX25519Static(seed, 'server-2026-q4')`
 */
export function deriveX25519Static(seed: Uint8Array, context: string | Uint8Array): Uint8Array {
  assertSeed(seed)
  return clamp(hkdfSha512(seed, utf8Encode(LABELS.deriveContext), toBytes(context), KEY_LENGTH))
}

/**
 * Derives a transport key as deployed clients do (generation G1): device id and epoch in the place of the context.
 *
 * @param epoch - Integer, 0 to 2^32 - 1; deployed callers pass 0 always.
 * @returns A fresh X25519 secret key of 32 bytes; the caller wipes it.
 * @throws {@link NoiseKeysError} `NK_KEY`, `NK_KDF` (epoch out of range, device id too short).
 */
export function deriveX25519ForDeviceEpoch(
  seed: Uint8Array,
  deviceId: string | Uint8Array,
  epoch: number,
  options: DeviceEpochOptions = {},
): Uint8Array {
  assertSeed(seed)
  const device = toBytes(deviceId)
  if (device.length < G1_MIN_DEVICE_ID_BYTES && options.allowShortDeviceId !== true) {
    throw new NoiseKeysError(
      'NK_KDF',
      `Device id has ${device.length} bytes, generation G1 wants ${G1_MIN_DEVICE_ID_BYTES}`,
    )
  }
  return clamp(
    hkdfSha512(seed, utf8Encode(LABELS.deriveDeviceEpoch), concatBytes(device, epochBytes(epoch)), KEY_LENGTH),
  )
}

/**
 * Derives a key of the first uploads (generation G0), for reading old installations only.
 *
 * @param place - Device and epoch, or nothing for the form without them.
 */
export function deriveX25519Prehistoric(
  seed: Uint8Array,
  place?: { deviceId: string | Uint8Array; epoch: number },
): Uint8Array {
  assertSeed(seed)
  const middle = place === undefined ? new Uint8Array() : concatBytes(toBytes(place.deviceId), epochBytes(place.epoch))
  const preimage = concatBytes(utf8Encode(LABELS.deriveDeviceEpoch), middle, seed)
  const digest = sha512(preimage)
  const secret = clamp(digest.slice(0, KEY_LENGTH))
  wipe(preimage, digest)
  return secret
}

/**
 * Derives the seed that lets an application make epoch keys without the identity key (G1+): HKDF-SHA-256, not
 * clamped. Give it to {@link deriveX25519ForDeviceEpoch} in the place of the seed.
 */
export function deriveNoiseSeed(seed: Uint8Array, deviceId: string | Uint8Array): Uint8Array {
  assertSeed(seed)
  return hkdfSha256(seed, utf8Encode(LABELS.noiseSeed), toBytes(deviceId), KEY_LENGTH)
}

/**
 * The X25519 public key of a secret. The secret is clamped first: older libraries give another answer for bytes that
 * are not.
 *
 * @throws {@link NoiseKeysError} `NK_KEY`.
 */
export function transportPublicKey(secretKey: Uint8Array): Uint8Array {
  assertSeed(secretKey)
  const clamped = clamp(Uint8Array.from(secretKey))
  const publicKey = x25519PublicKey(clamped)
  wipe(clamped)
  return publicKey
}

function clamp(secret: Uint8Array): Uint8Array {
  secret[0] = (secret[0] ?? 0) & 248
  secret[31] = ((secret[31] ?? 0) & 127) | 64
  return secret
}

function epochBytes(epoch: number): Uint8Array {
  if (!Number.isInteger(epoch) || epoch < 0 || epoch > 0xffff_ffff) {
    throw new NoiseKeysError('NK_KDF', 'Epoch is not an integer from 0 to 4294967295')
  }
  return new Writer(4).u32le(epoch).finish()
}

function toBytes(text: string | Uint8Array): Uint8Array {
  return typeof text === 'string' ? utf8Encode(text) : text
}

function assertSeed(seed: Uint8Array): void {
  if (seed.length !== KEY_LENGTH)
    throw new NoiseKeysError('NK_KEY', `Key has ${seed.length} bytes, wanted ${KEY_LENGTH}`)
}

import { describe, expect, it } from 'vitest'
import { hexEncode, hkdfSha512 } from '@keyturn/primitives'
import { deriveNoiseSeed } from '../src/owner/derive.ts'
import {
  deriveX25519ForDeviceEpoch,
  deriveX25519Prehistoric,
  deriveX25519Static,
  transportPublicKey,
} from '../src/owner/index.ts'
import { kdfVectors } from './kdf-vectors.ts'
import { codeOf, hex } from './support.ts'

describe('derivation vectors', () => {
  it('deriveX25519Static(): 36 of G2', () => {
    for (const vector of kdfVectors.kdf_v2) {
      const secret = deriveX25519Static(hex(vector.seed), hex(vector.context_hex))
      expect([hexEncode(secret), hexEncode(transportPublicKey(secret))]).toEqual([vector.x25519_sk, vector.x25519_pk])
    }
    expect(kdfVectors.kdf_v2).toHaveLength(36)
  })

  it('deriveX25519ForDeviceEpoch(): 79 of G1, short device ids only on request', () => {
    for (const vector of kdfVectors.kdf_v1_device_epoch) {
      const device = hex(vector.device_id_hex)
      const secret = deriveX25519ForDeviceEpoch(hex(vector.seed), device, vector.epoch, { allowShortDeviceId: true })
      expect([hexEncode(secret), hexEncode(transportPublicKey(secret))]).toEqual([vector.x25519_sk, vector.x25519_pk])
      const code = codeOf(() => deriveX25519ForDeviceEpoch(hex(vector.seed), device, vector.epoch))
      expect(code).toBe(vector.accepted_since_2026_01 ? undefined : 'NK_KDF')
    }
    expect(kdfVectors.kdf_v1_device_epoch).toHaveLength(79)
  })

  it('deriveX25519Prehistoric(): 3 of G0', () => {
    for (const vector of kdfVectors.kdf_v0_prehistoric) {
      const place =
        vector.form === 'seed_only' ? undefined : { deviceId: hex(vector.device_id_hex), epoch: vector.epoch }
      const secret = deriveX25519Prehistoric(hex(vector.seed), place)
      expect([hexEncode(secret), hexEncode(transportPublicKey(secret))]).toEqual([vector.x25519_sk, vector.x25519_pk])
    }
    expect(kdfVectors.kdf_v0_prehistoric).toHaveLength(3)
  })

  it('deriveNoiseSeed(): 6 of G1+', () => {
    for (const vector of kdfVectors.noise_seed) {
      const seed = deriveNoiseSeed(hex(vector.ed25519_sk), hex(vector.device_id_hex))
      expect(hexEncode(seed)).toBe(vector.noise_seed)
      const secret = deriveX25519ForDeviceEpoch(seed, hex(vector.device_id_hex), 0, { allowShortDeviceId: true })
      expect([hexEncode(secret), hexEncode(transportPublicKey(secret))]).toEqual([
        vector.then_v1_epoch0_sk,
        vector.then_v1_epoch0_pk,
      ])
    }
    expect(kdfVectors.noise_seed).toHaveLength(6)
  })

  it('one check to hold by heart', () => {
    const secret = deriveX25519Static(new Uint8Array(32).fill(0x2a), 'default')
    expect(hexEncode(secret)).toBe('9054652f09d47044f1418e10f52b52accd959754884adc7b9bc27ad2781b4b65')
  })
})

describe('derivation limits', () => {
  it('seeds and keys of another length are NK_KEY (row 146)', () => {
    for (const length of [0, 31, 33, 64]) {
      expect(codeOf(() => deriveX25519Static(new Uint8Array(length), 'x'))).toBe('NK_KEY')
      expect(codeOf(() => deriveX25519ForDeviceEpoch(new Uint8Array(length), 'x'.repeat(16), 0))).toBe('NK_KEY')
      expect(codeOf(() => transportPublicKey(new Uint8Array(length)))).toBe('NK_KEY')
    }
  })

  it('an epoch outside u32 is NK_KDF', () => {
    for (const epoch of [-1, 1.5, 2 ** 32, Number.NaN]) {
      expect(codeOf(() => deriveX25519ForDeviceEpoch(new Uint8Array(32), 'x'.repeat(16), epoch))).toBe('NK_KDF')
    }
  })

  it('no length can be asked for here, and below too long an output is refused (row 163)', () => {
    expect(deriveX25519Static(new Uint8Array(32), new Uint8Array(100_000))).toHaveLength(32)
    expect(() => hkdfSha512(new Uint8Array(32), new Uint8Array(), new Uint8Array(), 255 * 64 + 1)).toThrow()
  })

  it('clamps before the public key is made', () => {
    const bytes = new Uint8Array(32).fill(0xff)
    const clamped = Uint8Array.from(bytes, (byte, at) => (at === 0 ? byte & 248 : at === 31 ? (byte & 127) | 64 : byte))
    expect(transportPublicKey(bytes)).toEqual(transportPublicKey(clamped))
    expect(bytes).toEqual(new Uint8Array(32).fill(0xff))
  })
})

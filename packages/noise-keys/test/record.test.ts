import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { base64Encode, ed25519PublicKey, hexEncode, sha256, utf8Encode, z32Encode } from '@keyturn/primitives'
import { keyBindingPreimage } from '../src/binding.ts'
import { assertDeviceId, recordDnsName, recordPath } from '../src/device-id.ts'
import {
  createTransportIdentity,
  formatKeyRecord,
  NoiseKeysError,
  parseIdentityName,
  parseKeyRecord,
  signKeyBinding,
  signKeyRecord,
  transportIdentity,
  verifyKeyBinding,
  verifyKeyRecord,
} from '../src/index.ts'
import { transportPublicKey } from '../src/owner/index.ts'
import { canonicalX25519PublicKey } from '../src/public-key.ts'
import { readAsOldReader } from '../src/reader/index.ts'
import { keyRecordSigningBytes } from '../src/record-signature.ts'
import type { UnsignedKeyRecord } from '../src/index.ts'
import { kdfVectors } from './kdf-vectors.ts'
import { codeOf, hex } from './support.ts'

const seed = sha256(utf8Encode('transport identity'))
const identity = ed25519PublicKey(seed)
const publicKey = transportPublicKey(sha256(utf8Encode('device key')))
const place = { identity, deviceId: 'server-1' }
const base: UnsignedKeyRecord = {
  publicKey,
  timestampS: 1_800_000_000,
  sequence: 3,
  expiresS: 1_801_000_000,
  state: 'active',
}
const sign = (change: Partial<UnsignedKeyRecord> = {}): string =>
  signKeyRecord(seed, place.deviceId, { ...base, ...change })

describe('key binding', () => {
  it('equals 21 vectors, text forms included', () => {
    for (const vector of kdfVectors.binding) {
      const key = hex(vector.x25519_pk)
      const bound = { identity: hex(vector.ed25519_pk), publicKey: key, deviceId: vector.device_id }
      expect(hexEncode(keyBindingPreimage(bound))).toBe(vector.preimage_hex)
      const signature = signKeyBinding(hex(vector.ed25519_sk), key, vector.device_id)
      expect(hexEncode(signature)).toBe(vector.sig)
      verifyKeyBinding(bound, signature)
      const plain = { format: 'plain', publicKey: key, revoked: false } as const
      expect(formatKeyRecord(plain)).toBe(vector.txt_unsigned)
      expect(formatKeyRecord({ ...plain, bindingSignature: signature })).toBe(vector.txt)
      expect(formatKeyRecord({ ...plain, bindingSignature: signature, timestampS: vector.ts })).toBe(vector.txt_ts)
      expect(formatKeyRecord({ ...plain, bindingSignature: signature, timestampS: vector.ts, revoked: true })).toBe(
        vector.txt_revoked,
      )
      if (/^[\w.-]+$/.test(vector.device_id)) {
        expect(recordPath(vector.device_id)).toBe(vector.storage_path)
        expect(recordDnsName(vector.device_id)).toBe(vector.dns_label)
      }
    }
    expect(kdfVectors.binding).toHaveLength(21)
  })

  it('a signature for another device, identity or key is NK_BINDING_SIGNATURE (row 147)', () => {
    const signature = signKeyBinding(seed, publicKey, 'a')
    const other = sha256(utf8Encode('other'))
    const bound = { identity, publicKey, deviceId: 'a' }
    expect(codeOf(() => verifyKeyBinding(bound, signature))).toBeUndefined()
    expect(codeOf(() => verifyKeyBinding({ ...bound, deviceId: 'b' }, signature))).toBe('NK_BINDING_SIGNATURE')
    expect(codeOf(() => verifyKeyBinding({ ...bound, identity: ed25519PublicKey(other) }, signature))).toBe(
      'NK_BINDING_SIGNATURE',
    )
    expect(codeOf(() => verifyKeyBinding({ ...bound, publicKey: transportPublicKey(other) }, signature))).toBe(
      'NK_BINDING_SIGNATURE',
    )
    expect(codeOf(() => verifyKeyBinding(bound, signature.subarray(1)))).toBe('NK_BINDING_SIGNATURE')
  })

  it('a low-order key is NK_LOW_ORDER, one of another length NK_KEY (rows 144, 146)', () => {
    for (const text of kdfVectors.low_order_x25519_public_keys_must_be_refused) {
      expect(codeOf(() => canonicalX25519PublicKey(hex(text)))).toBe('NK_LOW_ORDER')
    }
    for (const length of [0, 31, 33])
      expect(codeOf(() => canonicalX25519PublicKey(new Uint8Array(length)))).toBe('NK_KEY')
  })

  it('every spelling of a key has one canonical form (row 145)', () => {
    const nine = hex(`09${'00'.repeat(31)}`)
    const spellings = [
      nine,
      hex(`09${'00'.repeat(30)}80`),
      hex(`f6${'ff'.repeat(30)}7f`),
      hex(`f6${'ff'.repeat(30)}ff`),
    ]
    for (const spelling of spellings) expect(hexEncode(canonicalX25519PublicKey(spelling))).toBe(hexEncode(nine))
  })
})

describe('transport identity', () => {
  it('is found in every spelling of its name', () => {
    const { name, publicKey: key } = createTransportIdentity(() => seed.slice())
    expect(name).toBe(z32Encode(identity))
    for (const text of [
      name,
      `pk:${name}`,
      `pubky${name}`,
      `https://${name}/x`,
      `pubky://${name}/pub/a?b`,
      `https://_noise.device.${name}:80/`,
    ]) {
      expect(parseIdentityName(text).publicKey).toEqual(key)
    }
    for (const text of ['', name.slice(1), `${name}y`, name.toUpperCase(), `${name.slice(0, 51)}b`, 'y'.repeat(52)]) {
      expect(codeOf(() => parseIdentityName(text))).toBe('NK_IDENTITY')
    }
    expect(codeOf(() => transportIdentity(new Uint8Array(32)))).toBe('NK_IDENTITY')
  })

  it('device ids that could leave their folder are refused when writing, encoded when reading', () => {
    for (const bad of ['', '.', '..', 'a/b', 'a b', 'é', 'x'.repeat(64), 'a\0']) {
      expect(codeOf(() => assertDeviceId(bad))).toBe('NK_DEVICE_ID')
      expect(recordPath(bad)).not.toMatch(/\/\.{1,2}$|v0\/.*\/|[ \0]/)
    }
    assertDeviceId('server-1.eu_west')
  })
})

describe('parseKeyRecord(), the old grammar', () => {
  it('gives the strict and the old outcome of 32 cases', () => {
    for (const vector of kdfVectors.txt_parse) {
      const at = { identity: hex(vector.ed25519_pk), deviceId: vector.device_id }
      if (vector.legacy_verify !== undefined)
        expect([vector.name, readAsOldReader(vector.txt, at)]).toEqual([vector.name, vector.legacy_verify])
      const freshness = { nowS: vector.now, maxAgeS: vector.max_age ?? 2_592_000 }
      expect([vector.name, readAsOldReader(vector.txt, at, freshness)]).toEqual([
        vector.name,
        vector.legacy_verify_expiry_30d,
      ])
      let outcome: string
      try {
        const record = parseKeyRecord(vector.txt)
        verifyKeyRecord(record, at)
        outcome = record.format === 'plain' && record.revoked ? 'revoked' : 'active'
      } catch (error) {
        outcome = 'reject'
        if (vector.strict.includes('treat as revoked'))
          expect((error as NoiseKeysError).details).toEqual({ revoked: 1 })
      }
      // Age is checked against the floors, not by the parser.
      const expected = /future|stale|^ok/.test(vector.strict) ? 'active' : vector.strict.split(/[ ,:]/)[0]
      expect([vector.name, outcome]).toEqual([vector.name, expected])
    }
    expect(kdfVectors.txt_parse).toHaveLength(32)
  })

  it('v=2, missing or repeated fields and spaces are NK_RECORD (rows 149, 150)', () => {
    const key = base64Encode(publicKey)
    for (const text of [
      `v=2;k=${key}`,
      `v=1`,
      `v=1;k=${key};k=${key}`,
      `k=${key}`,
      ` v=1;k=${key}`,
      `v=1;k= ${key}`,
      `v=1;k=${key};ts=1e9`,
      `v=1;k=${key};ts=-1`,
      `v=1;k=${key};ts=9223372036854775808`,
      `v=1;k=${key};revoked=false;revoked=true`,
      '',
      'x'.repeat(5000),
    ])
      expect(codeOf(() => parseKeyRecord(text))).toBe('NK_RECORD')
    for (const flag of ['true', 'TRUE', '1', '', 'no']) {
      expect(parseKeyRecord(`v=1;k=${key};revoked=${flag}`)).toMatchObject({ revoked: true })
    }
    expect(parseKeyRecord(`v=1;k=${key};revoked=false`)).toMatchObject({ revoked: false })
    for (const flag of ['Revoked=true', 'REVOKED=1', 'revoked', ' revoked ', 'St=revoked', 'st=REVOKED', 'st= revoked'])
      expect(parseKeyRecord(`v=1;k=${key};${flag}`), flag).toMatchObject({ revoked: true })
    expect(parseKeyRecord(`v=1;k=${key};st=revoked`)).toMatchObject({ revoked: true })
  })
})

describe('stateful records', () => {
  it('come back with their fields and verify', () => {
    const changes: Partial<UnsignedKeyRecord>[] = [
      {},
      { state: 'next' },
      { state: 'retiring', retiringUntilS: 1_800_500_000, reason: 'superseded' },
      { state: 'revoked', reason: 'compromise' },
      { nextKeySha256: sha256(publicKey) },
      { state: 'retiring', retiringUntilS: 1, reason: 'lost', nextKeySha256: sha256(identity) },
      { sequence: Number.MAX_SAFE_INTEGER },
    ]
    for (const change of changes) {
      const record = parseKeyRecord(sign(change))
      verifyKeyRecord(record, place)
      expect(record).toMatchObject({ format: 'stateful', ...base, ...change })
    }
  })

  it('are read by old readers, except revoked ones, which they refuse', () => {
    expect(readAsOldReader(sign(), place, { nowS: base.timestampS })).toBe('ok')
    expect(readAsOldReader(sign({ state: 'revoked', reason: 'lost' }), place)).toBe('error:missing-signature')
    expect(sign({ state: 'revoked', reason: 'lost' })).toContain(';revoked=true')
  })

  it('W1, W2: no byte can be changed, no field added or stripped (row 151)', () => {
    for (const text of [sign(), sign({ state: 'revoked', reason: 'lost' })]) {
      for (let at = 0; at < text.length; at += 1) {
        for (const replacement of ['A', '7', ';', '']) {
          const changed = text.slice(0, at) + replacement + text.slice(at + 1)
          if (changed === text) continue
          const code = codeOf(() => {
            const record = parseKeyRecord(changed)
            if (record.format === 'plain') throw new NoiseKeysError('NK_DOWNGRADE', 'plain')
            verifyKeyRecord(record, place)
          })
          expect(['NK_RECORD', 'NK_BINDING_SIGNATURE', 'NK_DOWNGRADE', 'NK_LOW_ORDER']).toContain(code)
        }
      }
    }
    const revoked = sign({ state: 'revoked', reason: 'lost' })
    expect(
      codeOf(() =>
        verifyKeyRecord(parseKeyRecord(revoked.replace('st=revoked;why=lost;revoked=true', 'st=active')), place),
      ),
    ).toBe('NK_RECORD')
    expect(codeOf(() => verifyKeyRecord(parseKeyRecord(sign().replace('seq=3', 'seq=4')), place))).toBe(
      'NK_BINDING_SIGNATURE',
    )
    expect(codeOf(() => verifyKeyRecord(parseKeyRecord(sign()), { ...place, deviceId: 'server-2' }))).toBe(
      'NK_BINDING_SIGNATURE',
    )
  })

  it('unknown, missing or moved fields are NK_RECORD (row 149)', () => {
    const text = sign()
    for (const changed of [
      text.replace(';ts=', ';x=1;ts='),
      text.replace('v=1;', ''),
      text.replace(/;seq=\d+/, ''),
      `${text};x=1`,
      `${text};`,
      text.replace(/(;ts=\d+)(;seq=\d+)/, '$2$1'),
      text.replace(';st=active', ';st=ACTIVE'),
      text.replace(';st=active', ';st=active;why=lost'),
      text.replace(';st=active', ';st=retiring'),
      text.replace('seq=3', 'seq=03'),
      text.replace('seq=3', 'seq=0'),
      text.replace('seq=3', 'seq=9007199254740992'),
      text.replace(/;sig=[^;]*/, ''),
      text.replace(';sig2=', ' ;sig2='),
      text.replace('exp=1801000000', 'exp=1799999999'),
      text.replace('exp=1801000000', `exp=${1_800_000_000 + 366 * 86_400 + 1}`),
    ])
      expect([changed, codeOf(() => parseKeyRecord(changed))]).toEqual([changed, 'NK_RECORD'])
  })

  it('are refused by the writer when they contradict themselves', () => {
    for (const change of [
      { state: 'retiring' },
      { state: 'revoked' },
      { retiringUntilS: 5 },
      { reason: 'lost' },
      { sequence: 0 },
      { expiresS: 1 },
    ] as Partial<UnsignedKeyRecord>[]) {
      expect(codeOf(() => sign(change))).toBe('NK_RECORD')
    }
    expect(codeOf(() => signKeyRecord(seed, '../x', base))).toBe('NK_DEVICE_ID')
  })

  it('W17: 10,000 pairs of device id and text never share their signed bytes (row 148)', () => {
    const seen = new Set<string>()
    const pairs = new Set<string>()
    fc.assert(
      fc.property(fc.string({ maxLength: 6 }), fc.string({ maxLength: 6 }), (deviceId, text) => {
        pairs.add(JSON.stringify([deviceId, text]))
        seen.add(hexEncode(keyRecordSigningBytes({ identity, deviceId }, text)))
      }),
      { numRuns: 10_000 },
    )
    expect(seen.size).toBe(pairs.size)
    expect(keyRecordSigningBytes({ identity, deviceId: 'device-v1' }, '2')).not.toEqual(
      keyRecordSigningBytes({ identity, deviceId: 'device-v12' }, ''),
    )
  })

  it('any text is a record or an error of this package', () => {
    const piece = fc.constantFrom(
      'v=1',
      'k=',
      base64Encode(publicKey),
      ';',
      '=',
      'sig=',
      'ts=',
      '1',
      'seq=',
      'st=',
      'revoked',
      'sig2=',
      ' ',
    )
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(piece, { maxLength: 20 }).map((parts) => parts.join('')),
        ),
        (text) => {
          try {
            parseKeyRecord(text)
          } catch (error) {
            expect(error).toBeInstanceOf(NoiseKeysError)
          }
        },
      ),
      { numRuns: 3000 },
    )
  })
})

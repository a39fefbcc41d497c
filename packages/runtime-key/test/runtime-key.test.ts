import { existsSync, readFileSync } from 'node:fs'
import { inspect } from 'node:util'
import { hexDecode, hexEncode } from '@keyturn/primitives'
import { describe, expect, it } from 'vitest'
import { keyCommitment, RuntimeKey } from '../src/index.ts'
import { codeOf, keyBytes, makeKey, verifier } from './fixtures.ts'

describe('RuntimeKey', () => {
  it('take() wipes what it is given and lends its own copy', () => {
    const masterKey = keyBytes()
    const key = RuntimeKey.take({ keyId: 1, masterKey, signPublicKey: verifier })
    expect(masterKey).toEqual(new Uint8Array(32))
    expect(key.withBytes((bytes) => hexEncode(bytes))).toBe(hexEncode(keyBytes()))
  })

  it('take() wipes what it refuses', () => {
    const masterKey = keyBytes()
    expect(codeOf(() => RuntimeKey.take({ keyId: 0, masterKey }))).toBe('RK_KEY_ID')
    expect(masterKey).toEqual(new Uint8Array(32))
  })

  it('prints as [redacted] everywhere', () => {
    const key = makeKey()
    const hex = hexEncode(keyBytes())
    for (const text of [
      String(key),
      `${key}`,
      JSON.stringify({ key }),
      inspect(key),
      inspect({ key }, { showHidden: true, depth: 9 }),
    ]) {
      expect(text).toContain('[redacted]')
      expect(text).not.toContain(hex.slice(0, 16))
      expect(text).not.toContain(inspect(keyBytes()).slice(16, 40))
    }
    expect(Object.keys(key)).toEqual(['keyId'])
  })

  it('dispose() wipes, may be repeated, and ends all use', () => {
    const key = makeKey()
    const lent = key.withBytes((bytes) => bytes)
    key.dispose()
    key.dispose()
    expect(lent).toEqual(new Uint8Array(32))
    expect(() => key.withBytes((bytes) => bytes)).toThrow(TypeError)
  })

  it('take() refuses key_id outside 1 to 2^32-1', () => {
    for (const keyId of [0, -1, 1.5, 2 ** 32, Number.NaN]) {
      expect(codeOf(() => RuntimeKey.take({ keyId, masterKey: keyBytes() }))).toBe('RK_KEY_ID')
    }
    expect(makeKey(2 ** 32 - 1).keyId).toBe(4_294_967_295)
  })

  it('take() refuses a verifier that is low-order or not canonical (row 97)', () => {
    const weak = [
      '0000000000000000000000000000000000000000000000000000000000000000',
      '0100000000000000000000000000000000000000000000000000000000000000',
      '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
      'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa',
      'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
      'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
      'ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',
    ]
    for (const hex of weak) {
      const parts = { keyId: 1, masterKey: keyBytes(), signPublicKey: hexDecode(hex) }
      expect(codeOf(() => RuntimeKey.take(parts))).toBe('RK_KEY_INVALID')
    }
  })
})

const vectors = new URL('../../../../shared/vectors/m2pack/m2pack.json', import.meta.url)
if (!existsSync(vectors)) console.info('keyCommitment(): the m2pack vectors are not there, skipped')

describe.skipIf(!existsSync(vectors))('keyCommitment()', () => {
  it('equals the commitment of an independent implementation', () => {
    const { steps, archives } = JSON.parse(readFileSync(vectors, 'utf8')) as {
      steps: { file: string; '1 commitment = HMAC-SHA-256(content key, message)'?: string }[]
      archives: { file: string; key_id: number; content_key: string }[]
    }
    let count = 0
    for (const step of steps) {
      const expected = step['1 commitment = HMAC-SHA-256(content key, message)']
      const archive = archives.find(({ file }) => file === step.file)
      if (expected === undefined || archive === undefined) continue
      const key = RuntimeKey.take({ keyId: archive.key_id, masterKey: hexDecode(archive.content_key) })
      expect(hexEncode(keyCommitment(key))).toBe(expected)
      count += 1
    }
    expect(count).toBe(steps.length)
    expect(count).toBeGreaterThan(0)
  })
})

import fc from 'fast-check'
import { hexEncode, utf8Decode, utf8Encode } from '@keyturn/primitives'
import { describe, expect, it } from 'vitest'
import { parseRuntimeKeyJson, RuntimeKey, RuntimeKeyError, writeRuntimeKeyJson } from '../src/index.ts'
import { codeOf, keyBytes, makeKey, verifier } from './fixtures.ts'

const keyHex = hexEncode(keyBytes())
const publicHex = hexEncode(verifier)
const original = {
  version: 1,
  mapping_name: 'Local\\M2PackSharedKeys',
  key_id: 4,
  master_key_hex: keyHex,
  sign_public_key_hex: publicHex,
}
const launcher = { key_id: '4', master_key_hex: keyHex, sign_pubkey_hex: publicHex }
const parse = (value: unknown): RuntimeKey => parseRuntimeKeyJson(utf8Encode(JSON.stringify(value)))

describe('parseRuntimeKeyJson()', () => {
  it('takes both shapes in the wild, and unknown fields', () => {
    for (const shape of [original, launcher, { ...launcher, note: 'x', more: [1, { a: 'b' }] }]) {
      const key = parse(shape)
      expect(key.keyId).toBe(4)
      expect(key.signPublicKey).toEqual(verifier)
      expect(key.withBytes(hexEncode)).toBe(keyHex)
    }
  })

  it('refuses a key that is not 64 lower-case digits, or all zero (row 95)', () => {
    const cases: [string, string][] = [
      [keyHex.slice(2), 'RK_ENCODING'],
      [`${keyHex}00`, 'RK_ENCODING'],
      [keyHex.slice(1), 'RK_ENCODING'],
      [`0x${keyHex}`, 'RK_ENCODING'],
      [`0x${keyHex.slice(2)}`, 'RK_ENCODING'],
      [keyHex.toUpperCase(), 'RK_ENCODING'],
      [` ${keyHex}`, 'RK_ENCODING'],
      [`${keyHex.slice(0, 32)} ${keyHex.slice(33)}`, 'RK_ENCODING'],
      ['', 'RK_ENCODING'],
      [`${keyHex}\n`, 'RK_ENCODING'],
      ['00'.repeat(32), 'RK_WEAK'],
    ]
    for (const [hex, code] of cases) expect(codeOf(() => parse({ ...launcher, master_key_hex: hex }))).toBe(code)
    expect(codeOf(() => parse({ ...launcher, sign_pubkey_hex: publicHex.toUpperCase() }))).toBe('RK_ENCODING')
  })

  it('refuses a verifier of low order (row 97)', () => {
    expect(codeOf(() => parse({ ...launcher, sign_pubkey_hex: `01${'00'.repeat(31)}` }))).toBe('RK_KEY_INVALID')
  })

  it('refuses a key_id that is not an integer of 1 to 2^32-1, in either type', () => {
    for (const keyId of [
      0,
      -4,
      4_294_967_296,
      '0',
      '04',
      '+4',
      '4 ',
      '4.0',
      '4e0',
      '',
      'release-7',
      '4294967296',
      null,
      true,
      [4],
    ]) {
      expect(codeOf(() => parse({ ...launcher, key_id: keyId }))).toBe('RK_KEY_ID')
    }
    expect(codeOf(() => parse({ ...launcher, key_id: undefined }))).toBe('RK_FIELD')
    expect(parse({ ...launcher, key_id: '4294967295' }).keyId).toBe(4_294_967_295)
  })

  it('tells malformed JSON from invalid content', () => {
    const text = JSON.stringify(launcher)
    const malformed = [
      '',
      '{',
      text.slice(0, -1),
      `${text}x`,
      `\ufeff${text}`,
      text.replace('"key_id":"4"', '"key_id":"4","key_id":"4"'),
      text.replace('"4"', '4.5'),
      text.replace('{', '{"__proto__":1,'),
      text.replaceAll('"', "'"),
    ]
    for (const bad of malformed) expect(codeOf(() => parseRuntimeKeyJson(utf8Encode(bad)))).toBe('RK_JSON')
    for (const bad of [
      'null',
      '[]',
      '"text"',
      '4',
      '{}',
      '{"key_id":"4"}',
      `{"key_id":4,"sign_pubkey_hex":"${publicHex}"}`,
    ]) {
      expect(codeOf(() => parseRuntimeKeyJson(utf8Encode(bad)))).toBe('RK_FIELD')
    }
    expect(codeOf(() => parse({ ...launcher, version: 2 }))).toBe('RK_FIELD')
    expect(codeOf(() => parse({ ...launcher, sign_public_key_hex: keyHex }))).toBe('RK_FIELD')
    expect(codeOf(() => parse({ ...launcher, master_key_hex: 5 }))).toBe('RK_FIELD')
  })

  it('refuses a file over its limit', () => {
    expect(codeOf(() => parse({ ...launcher, note: 'x'.repeat(20_000) }))).toBe('RK_JSON')
  })

  it('never quotes the key, wherever the text is cut or changed', () => {
    const text = writeRuntimeKeyJson(makeKey())
    fc.assert(
      fc.property(fc.nat(text.length - 1), fc.nat(255), fc.boolean(), (at, byte, cut) => {
        const bad = cut ? text.slice(0, at) : text.map((old, index) => (index === at ? byte : old))
        try {
          parseRuntimeKeyJson(bad)
        } catch (error) {
          expect(error).toBeInstanceOf(RuntimeKeyError)
          const shown = `${(error as Error).stack} ${JSON.stringify(error)}`
          for (let start = 0; start + 16 <= keyHex.length; start += 2)
            expect(shown).not.toContain(keyHex.slice(start, start + 16))
        }
      }),
      { numRuns: 500 },
    )
  })
})

describe('writeRuntimeKeyJson()', () => {
  it('writes the superset by default', () => {
    expect(JSON.parse(utf8Decode(writeRuntimeKeyJson(makeKey())))).toEqual({
      version: 1,
      mapping_name: 'Local\\M2PackSharedKeys',
      key_id: '4',
      master_key_hex: keyHex,
      sign_pubkey_hex: publicHex,
      sign_public_key_hex: publicHex,
    })
  })

  it('writes exactly the shape of the packer on request', () => {
    const text = utf8Decode(writeRuntimeKeyJson(makeKey(), { compat: 'original' }))
    expect(text).toBe(`${JSON.stringify(original, null, 2)}\n`)
  })

  it('is undone by parseRuntimeKeyJson()', () => {
    const bytes = fc.uint8Array({ minLength: 32, maxLength: 32 }).filter((key) => key.some((byte) => byte !== 0))
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 4_294_967_295 }),
        bytes,
        fc.constantFrom('superset', 'original'),
        (keyId, key, compat) => {
          const hex = hexEncode(key)
          const back = parseRuntimeKeyJson(
            writeRuntimeKeyJson(RuntimeKey.take({ keyId, masterKey: key.slice(), signPublicKey: verifier }), {
              compat,
            }),
          )
          expect([back.keyId, back.withBytes(hexEncode)]).toEqual([keyId, hex])
        },
      ),
    )
  })

  it('needs a verifier', () => {
    expect(codeOf(() => writeRuntimeKeyJson(RuntimeKey.take({ keyId: 1, masterKey: keyBytes() })))).toBe('RK_FIELD')
  })
})

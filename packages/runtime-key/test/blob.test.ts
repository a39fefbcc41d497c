import fc from 'fast-check'
import { hexEncode } from '@keyturn/primitives'
import { describe, expect, it } from 'vitest'
import { parseRuntimeKeyBlob, RuntimeKeyError, writeRuntimeKeyBlob } from '../src/index.ts'
import { codeOf, keyBytes, makeKey, verifier } from './fixtures.ts'

const blob = writeRuntimeKeyBlob(makeKey(0x0102_0304))
const changed = (at: number, byte: number): Uint8Array => blob.map((old, index) => (index === at ? byte : old))

describe('writeRuntimeKeyBlob()', () => {
  it('writes the layout of docs/spec/runtime-key.md §3', () => {
    expect(hexEncode(blob)).toBe(
      `4d324b455953310001000000${'00000000'}04030201${hexEncode(keyBytes())}${hexEncode(verifier)}`,
    )
    expect(blob).toHaveLength(84)
  })
})

describe('parseRuntimeKeyBlob()', () => {
  it('undoes writeRuntimeKeyBlob()', () => {
    const key = parseRuntimeKeyBlob(blob)
    expect([key.keyId, key.signPublicKey]).toEqual([0x0102_0304, verifier])
    expect(key.withBytes(hexEncode)).toBe(hexEncode(keyBytes()))
  })

  it('refuses every other length, the 80-byte form without key_id among them (row 109)', () => {
    for (let length = 0; length < 200; length += 1) {
      if (length === 84) continue
      const bytes = new Uint8Array(length)
      bytes.set(blob.subarray(0, Math.min(length, 84)))
      expect(codeOf(() => parseRuntimeKeyBlob(bytes))).toBe('RK_BLOB')
    }
  })

  it('refuses another magic, version or flags (row 109)', () => {
    for (let at = 0; at < 16; at += 1) expect(codeOf(() => parseRuntimeKeyBlob(changed(at, 0x7f)))).toBe('RK_BLOB')
  })

  it('refuses key_id 0, an all-zero key and a weak verifier', () => {
    const zeroed = (start: number, end: number): Uint8Array =>
      blob.map((old, at) => (at >= start && at < end ? 0 : old))
    expect(codeOf(() => parseRuntimeKeyBlob(zeroed(16, 20)))).toBe('RK_KEY_ID')
    expect(codeOf(() => parseRuntimeKeyBlob(zeroed(20, 52)))).toBe('RK_WEAK')
    expect(codeOf(() => parseRuntimeKeyBlob(zeroed(52, 84)))).toBe('RK_KEY_INVALID')
  })

  it('answers any bytes with a key or an error of its own', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 0, maxLength: 120 }), fc.boolean(), (bytes, keepHead) => {
        const input = bytes.slice()
        if (keepHead) input.set(blob.subarray(0, Math.min(16, input.length)))
        try {
          parseRuntimeKeyBlob(input)
        } catch (error) {
          expect(error).toBeInstanceOf(RuntimeKeyError)
        }
      }),
      { numRuns: 2000 },
    )
  })
})

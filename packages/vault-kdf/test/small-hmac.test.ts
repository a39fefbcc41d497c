import { createHmac } from 'node:crypto'
import { hexDecode, hexEncode, hmacSha256 } from '@keyturn/primitives'
import { hmac } from '@noble/hashes/hmac.js'
import { sha256 } from '@noble/hashes/sha2.js'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SmallHmac } from '../src/small-hmac.ts'

const text = (value: string): Uint8Array => new TextEncoder().encode(value)

describe('SmallHmac', () => {
  it.each([
    // RFC 4231 §4.2 to §4.4
    [
      new Uint8Array(20).fill(0x0b),
      text('Hi There'),
      'b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7',
    ],
    [
      text('Jefe'),
      text('what do ya want for nothing?'),
      '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843',
    ],
    [
      new Uint8Array(20).fill(0xaa),
      new Uint8Array(50).fill(0xdd),
      '773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe',
    ],
    [
      hexDecode('0102030405060708090a0b0c0d0e0f10111213141516171819'),
      new Uint8Array(50).fill(0xcd),
      '82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b',
    ],
  ])('agrees with RFC 4231, case %#', (key, message, expected) => {
    expect(hexEncode(new SmallHmac(key).mac(message))).toBe(expected)
  })

  it('agrees with noble, OpenSSL and the primitives at every length of key and message', () => {
    const bytes = Uint8Array.from({ length: 400 }, (_, index) => (index * 131 + 7) & 0xff)
    for (let keyLength = 0; keyLength <= 64; keyLength += 8) {
      const key = bytes.subarray(3, 3 + keyLength)
      const prepared = new SmallHmac(key)
      for (let length = 0; length <= 300; length++) {
        const message = bytes.subarray(0, length)
        const mac = prepared.mac(message)
        expect(mac).toEqual(hmac(sha256, key, message))
        expect(mac).toEqual(hmacSha256(key, message))
        expect(mac).toEqual(new Uint8Array(createHmac('sha256', key).update(message).digest()))
        expect(prepared.mac(bytes, length)).toEqual(mac)
      }
    }
  })

  it('agrees with noble on any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), fc.uint8Array({ maxLength: 2000 }), (key, message) => {
        expect(new SmallHmac(key).mac(message)).toEqual(hmac(sha256, key, message))
      }),
    )
  })

  it('refuses a key over one block', () => {
    expect(() => new SmallHmac(new Uint8Array(65))).toThrow(RangeError)
  })
})

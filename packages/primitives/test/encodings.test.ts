import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  base64Decode,
  base64Encode,
  base64urlDecode,
  base64urlEncode,
  hexDecode,
  hexEncode,
  utf8Decode,
  utf8Encode,
  z32Decode,
  z32Encode,
} from '../src/index.ts'

const encodings = [
  { name: 'hex', encode: hexEncode, decode: hexDecode, wrong: ['a', 'AB', 'zz', '0x', ' 00'] },
  {
    name: 'base64',
    encode: base64Encode,
    decode: base64Decode,
    wrong: ['AA', 'AA=', 'A===', 'AB==', 'AAA', '=', '====', 'AA==\n', 'AA==AA==', 'a-_='],
  },
  {
    name: 'base64url',
    encode: base64urlEncode,
    decode: base64urlDecode,
    wrong: ['A', 'AB', 'AA==', 'a+/a', 'AA ', 'AAAAA'],
  },
  { name: 'z32', encode: z32Encode, decode: z32Decode, wrong: ['b', 'yb', 'YY', 'y0', 'yyy', 'l'] },
] as const

describe.each(encodings)('$name', ({ encode, decode, wrong }) => {
  it('decoding inverts encoding', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 70 }), (bytes) => {
        expect(decode(encode(bytes))).toEqual(bytes)
      }),
    )
  })

  it('accepts one text per value only', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 12 }), (text) => {
        let bytes: Uint8Array
        try {
          bytes = decode(text)
        } catch (error) {
          expect(error).toMatchObject({ code: 'PRIM_ENCODING', kind: 'input' })
          return
        }
        expect(encode(bytes)).toBe(text)
      }),
      { numRuns: 500 },
    )
  })

  it.each(wrong.map((text) => [text]))('refuses %j', (text) => {
    expect(() => decode(text)).toThrow(expect.objectContaining({ code: 'PRIM_ENCODING' }))
  })
})

describe('known texts', () => {
  it('are those of RFC 4648 and of the z-base-32 document', () => {
    expect(base64Encode(utf8Encode('foobar'))).toBe('Zm9vYmFy')
    expect(base64Encode(utf8Encode('fooba'))).toBe('Zm9vYmE=')
    expect(base64urlEncode(Uint8Array.of(0xfb, 0xff))).toBe('-_8')
    expect(z32Encode(Uint8Array.of(0xf0, 0xbf, 0xc7))).toBe('6n9hq')
    expect(z32Encode(Uint8Array.of(0xd4, 0x7a, 0x04))).toBe('4t7ye')
  })
})

describe('utf8', () => {
  it('refuses a lone surrogate and invalid bytes, and keeps a byte order mark', () => {
    expect(() => utf8Encode('a\ud800')).toThrow(expect.objectContaining({ code: 'PRIM_ENCODING' }))
    expect(() => utf8Decode(Uint8Array.of(0xff))).toThrow(expect.objectContaining({ code: 'PRIM_ENCODING' }))
    expect(utf8Decode(utf8Encode('\ufeffx'))).toBe('\ufeffx')
  })
})

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import * as acceleratedModule from '../src/backend/accelerated.ts'
import type { Backend } from '../src/backend/backend.ts'
import * as portableModule from '../src/backend/portable.ts'
import {
  blake2b256,
  blake2b512,
  blake3,
  createBlake2b256,
  createSha256,
  hexDecode,
  hexEncode,
  hkdfSha256,
  hkdfSha512,
  hmacSha256,
  hmacSha512,
  scrypt,
  sha256,
  sha512,
  utf8Encode,
} from '../src/index.ts'
import { haveVectors, vectorText, wycheproof } from './conformance.ts'

// Both modules are whole backends.
const accelerated: Backend = acceleratedModule
const portable: Backend = portableModule

interface HmacCase {
  readonly key: string
  readonly msg: string
  readonly tag: string
  readonly result: string
}
interface HkdfCase {
  readonly ikm: string
  readonly salt: string
  readonly info: string
  readonly size: number
  readonly okm: string
  readonly result: string
}

describe.skipIf(!haveVectors)('published hash vectors', () => {
  it('blake3() gives the 35 published digests', () => {
    const { cases } = JSON.parse(vectorText('blake3/test_vectors.json')) as {
      cases: { input_len: number; hash: string }[]
    }
    for (const { input_len, hash } of cases) {
      const input = Uint8Array.from({ length: input_len }, (_, index) => index % 251)
      expect(hexEncode(blake3(input))).toBe(hash.slice(0, 64))
    }
    expect(cases).toHaveLength(35)
  })

  it.each([
    { name: 'hmac_sha256', hmac: hmacSha256, count: 174 },
    { name: 'hmac_sha512', hmac: hmacSha512, count: 174 },
  ])('$name gives the $count Wycheproof tags, cut where the test cuts', ({ name, hmac, count }) => {
    let seen = 0
    for (const { tests } of wycheproof<HmacCase>(name)) {
      for (const { key, msg, tag, result } of tests) {
        seen++
        const ours = hexEncode(hmac(hexDecode(key), hexDecode(msg))).slice(0, tag.length)
        expect(ours === tag).toBe(result === 'valid')
      }
    }
    expect(seen).toBe(count)
  })

  it.each([
    { name: 'hkdf_sha256', hkdf: hkdfSha256, count: 86 },
    { name: 'hkdf_sha512', hkdf: hkdfSha512, count: 83 },
  ])('$name answers the $count Wycheproof tests', ({ name, hkdf, count }) => {
    let seen = 0
    for (const { tests } of wycheproof<HkdfCase>(name)) {
      for (const { ikm, salt, info, size, okm, result } of tests) {
        seen++
        const derive = () => hexEncode(hkdf(hexDecode(ikm), hexDecode(salt), hexDecode(info), size))
        if (result === 'valid') expect(derive()).toBe(okm)
        else expect(derive).toThrow(RangeError)
      }
    }
    expect(seen).toBe(count)
  })
})

describe('hashes', () => {
  it('give the digests of the empty string', () => {
    const empty = new Uint8Array(0)
    expect(hexEncode(sha256(empty))).toBe('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855')
    // b2sum -l 256 /dev/null
    expect(hexEncode(blake2b512(empty)).slice(0, 32)).toBe('786a02f742015903c6c6fd852552d272')
    expect(hexEncode(blake2b256(empty))).toBe('0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8')
    expect(hexEncode(sha512(empty))).toMatch(/^cf83e1357eefb8bd/)
  })

  it('are equal on both backends, in one piece or in many', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 400 }), { maxLength: 5 }),
        fc.uint8Array({ maxLength: 80 }),
        (parts, key) => {
          const joined = Uint8Array.from(parts.flatMap((part) => [...part]))
          for (const name of ['sha256', 'sha512', 'blake2b256', 'blake2b512', 'blake3'] as const) {
            expect(accelerated[name](joined)).toEqual(portable[name](joined))
          }
          for (const backend of [accelerated, portable]) {
            const [sha, blake] = [backend.createSha256(), backend.createBlake2b256()]
            for (const part of parts) {
              sha.update(part)
              blake.update(part)
            }
            expect(sha.digest()).toEqual(sha256(joined))
            expect(blake.digest()).toEqual(blake2b256(joined))
            expect(backend.hmacSha256(key, parts)).toEqual(hmacSha256(key, joined))
            expect(backend.hmacSha512(key, parts)).toEqual(hmacSha512(key, joined))
          }
        },
      ),
    )
    expect(createSha256().update(Uint8Array.of(1)).digest()).toEqual(sha256(Uint8Array.of(1)))
    expect(createBlake2b256().digest()).toEqual(blake2b256(new Uint8Array(0)))
  })

  it('scrypt() gives the result of RFC 7914 §12 on both backends and refuses impossible costs', () => {
    const parameters = { N: 1024, r: 8, p: 16, length: 64 }
    const expected =
      'fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b3731622eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640'
    for (const run of [scrypt, accelerated.scrypt, portable.scrypt]) {
      expect(hexEncode(run(utf8Encode('password'), utf8Encode('NaCl'), parameters))).toBe(expected)
    }
    expect(() => scrypt(utf8Encode('x'), utf8Encode('y'), { ...parameters, N: 1000 })).toThrow(RangeError)
  })
})

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import * as accelerated from '../src/backend/accelerated.ts'
import * as portable from '../src/backend/portable.ts'
import {
  hexDecode,
  hexEncode,
  openAes256Gcm,
  openChaCha20Poly1305,
  openXChaCha20Poly1305,
  sealAes256Gcm,
  sealChaCha20Poly1305,
  sealXChaCha20Poly1305,
} from '../src/index.ts'
import { haveVectors, wycheproof } from './conformance.ts'

interface AeadCase {
  readonly key: string
  readonly iv: string
  readonly aad: string
  readonly msg: string
  readonly ct: string
  readonly tag: string
  readonly result: string
  readonly tcId: number
}

const ciphers = [
  {
    name: 'XChaCha20-Poly1305',
    file: 'xchacha20_poly1305',
    count: 315,
    nonceLength: 24,
    seal: sealXChaCha20Poly1305,
    open: openXChaCha20Poly1305,
  },
  {
    name: 'ChaCha20-Poly1305',
    file: 'chacha20_poly1305',
    count: 325,
    nonceLength: 12,
    seal: sealChaCha20Poly1305,
    open: openChaCha20Poly1305,
  },
  { name: 'AES-256-GCM', file: 'aes_gcm', count: 316, nonceLength: 12, seal: sealAes256Gcm, open: openAes256Gcm },
] as const

describe.skipIf(!haveVectors)('published AEAD vectors', () => {
  it.each(ciphers)(
    '$name answers the $count Wycheproof tests as published',
    ({ file, count, nonceLength, seal, open }) => {
      let seen = 0
      for (const { tests } of wycheproof<AeadCase>(file)) {
        for (const test of tests) {
          seen++
          const [key, nonce, aad, message] = [test.key, test.iv, test.aad, test.msg].map(hexDecode) as [
            Uint8Array,
            Uint8Array,
            Uint8Array,
            Uint8Array,
          ]
          const ciphertext = hexDecode(test.ct + test.tag)
          if (key.length !== 32 || nonce.length !== nonceLength) {
            expect(() => open(key, nonce, ciphertext, { aad })).toThrow(RangeError)
          } else if (test.result === 'valid') {
            expect(hexEncode(seal(key, nonce, message, { aad })), `test ${test.tcId}`).toBe(hexEncode(ciphertext))
            expect(hexEncode(open(key, nonce, ciphertext, { aad }))).toBe(hexEncode(message))
          } else {
            expect(() => open(key, nonce, ciphertext, { aad })).toThrow(
              expect.objectContaining({ code: 'PRIM_DECRYPT' }),
            )
          }
        }
      }
      expect(seen).toBe(count)
    },
  )
})

describe.each(ciphers)('$name', ({ nonceLength, seal, open }) => {
  const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })

  it('seal() and open() are inverse, and every flipped bit is refused', () => {
    fc.assert(
      fc.property(
        bytes(32),
        bytes(nonceLength),
        fc.uint8Array({ maxLength: 80 }),
        fc.uint8Array({ maxLength: 20 }),
        fc.nat(),
        (key, nonce, message, aad, pick) => {
          const sealed = seal(key, nonce, message, { aad })
          expect(open(key, nonce, sealed, { aad })).toEqual(message)
          const flipped = sealed.slice()
          const bit = pick % (flipped.length * 8)
          flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7))
          expect(() => open(key, nonce, flipped, { aad })).toThrow(expect.objectContaining({ code: 'PRIM_DECRYPT' }))
        },
      ),
    )
  })

  it('open() refuses each truncation', () => {
    const sealed = seal(new Uint8Array(32), new Uint8Array(nonceLength), Uint8Array.of(1, 2, 3))
    for (let length = 0; length < sealed.length; length++) {
      expect(() => open(new Uint8Array(32), new Uint8Array(nonceLength), sealed.subarray(0, length))).toThrow(
        expect.objectContaining({ code: 'PRIM_DECRYPT' }),
      )
    }
  })

  it('seal() refuses a key or nonce of another length', () => {
    expect(() => seal(new Uint8Array(31), new Uint8Array(nonceLength), new Uint8Array(1))).toThrow(RangeError)
    expect(() => seal(new Uint8Array(32), new Uint8Array(nonceLength - 1), new Uint8Array(1))).toThrow(RangeError)
  })
})

describe('backends', () => {
  it('give equal ciphertexts for every AEAD', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        fc.uint8Array({ minLength: 24, maxLength: 24 }),
        fc.uint8Array({ maxLength: 300 }),
        fc.uint8Array({ maxLength: 40 }),
        (key, nonce, message, aad) => {
          const short = nonce.slice(0, 12)
          const [one, two] = [accelerated, portable].map((backend) => {
            const out = new Uint8Array(message.length + 16)
            backend.sealXChaCha20Poly1305(key, nonce, message, { aad, out })
            const gcm = new Uint8Array(message.length + 16)
            backend.sealAes256Gcm(key, short, message, { aad, out: gcm })
            return [out, backend.sealChaCha20Poly1305(key, short, message, aad), gcm]
          })
          expect(one).toEqual(two)
        },
      ),
    )
  })

  it('open() leaves nothing in out when the tag is wrong', () => {
    const [key, nonce] = [new Uint8Array(32), new Uint8Array(24)]
    const sealed = sealXChaCha20Poly1305(key, nonce, new Uint8Array(100).fill(7))
    sealed[sealed.length - 1] = (sealed[sealed.length - 1] as number) ^ 1
    const out = new Uint8Array(100).fill(9)
    expect(() => openXChaCha20Poly1305(key, nonce, sealed, { out })).toThrow()
    expect(out.every((byte) => byte === 0)).toBe(true)
  })
})

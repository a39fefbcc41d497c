import { describe, expect, it } from 'vitest'
import * as accelerated from '../src/backend/accelerated.ts'
import * as portable from '../src/backend/portable.ts'
import { hexDecode, hexEncode, x25519, x25519PublicKey } from '../src/index.ts'
import type { PrimitivesError } from '../src/index.ts'
import { haveVectors, wycheproof } from './conformance.ts'

interface X25519Case {
  readonly public: string
  readonly private: string
  readonly shared: string
}

describe.skipIf(!haveVectors)('published X25519 vectors', () => {
  it('x25519() refuses exactly the 31 all-zero results of the 518 Wycheproof tests, on both backends', () => {
    let count = 0
    let refused = 0
    for (const { tests } of wycheproof<X25519Case>('x25519')) {
      for (const test of tests) {
        count++
        const [secret, publicKey] = [hexDecode(test.private), hexDecode(test.public)]
        expect(hexEncode(accelerated.x25519(secret, publicKey))).toBe(test.shared)
        expect(hexEncode(portable.x25519(secret, publicKey))).toBe(test.shared)
        try {
          x25519(secret, publicKey)
        } catch (error) {
          expect((error as PrimitivesError).code).toBe('PRIM_KEY_INVALID')
          refused++
        }
      }
    }
    expect([count, refused]).toEqual([518, 31])
  })
})

describe('x25519', () => {
  // Bob is the one of RFC 7748 §6.1.
  const alice = hexDecode('77076d0a7318a57d3c16c17251b26645df1f8af1a7b6fa2bd3c2a5e3a1b6b5a3')
  const bob = hexDecode('5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb')

  it('x25519() gives both sides the same secret', () => {
    expect(x25519(alice, x25519PublicKey(bob))).toEqual(x25519(bob, x25519PublicKey(alice)))
    expect(hexEncode(x25519PublicKey(bob))).toBe('de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f')
  })

  it('x25519() refuses keys of another length', () => {
    expect(() => x25519(alice, new Uint8Array(31))).toThrow(RangeError)
    expect(() => x25519PublicKey(new Uint8Array(33))).toThrow(RangeError)
  })
})

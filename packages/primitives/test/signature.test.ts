import { describe, expect, it } from 'vitest'
import * as accelerated from '../src/backend/accelerated.ts'
import * as portable from '../src/backend/portable.ts'
import {
  ed25519PublicKey,
  ed25519Sign,
  ed25519Verify,
  hexDecode,
  hexEncode,
  isStrongEd25519PublicKey,
  sha256,
  utf8Encode,
} from '../src/index.ts'
import { haveVectors, vectorText, wycheproof } from './conformance.ts'

interface Ed25519Case {
  readonly msg: string
  readonly sig: string
  readonly result: string
  readonly tcId: number
}
interface CctvCase {
  readonly key: string
  readonly sig: string
  readonly msg: string
}
interface SpeccheckCase {
  readonly message: string
  readonly pub_key: string
  readonly signature: string
}

describe.skipIf(!haveVectors)('published Ed25519 vectors', () => {
  it('ed25519Verify() answers all 151 Wycheproof tests as published', () => {
    let count = 0
    for (const { publicKey, tests } of wycheproof<Ed25519Case>('ed25519')) {
      for (const { msg, sig, result, tcId } of tests) {
        count++
        const answer = ed25519Verify(hexDecode(publicKey?.pk ?? ''), hexDecode(msg), hexDecode(sig))
        expect(answer, `test ${tcId}`).toBe(result === 'valid')
      }
    }
    expect(count).toBe(151)
  })

  it('ed25519Verify() accepts 43 of the 914 CCTV edge cases, on both backends', () => {
    const cases = JSON.parse(vectorText('cctv-ed25519/ed25519vectors.json')) as CctvCase[]
    expect(cases).toHaveLength(914)
    const answers = cases.map(({ key, msg, sig }) => {
      const triple = [hexDecode(key), utf8Encode(msg), hexDecode(sig)] as const
      if (ed25519Verify(...triple)) expect(portable.ed25519Verify(...triple)).toBe(true)
      return ed25519Verify(...triple) ? '1' : '0'
    })
    expect(hexEncode(sha256(utf8Encode(answers.join(''))))).toBe(
      '9111cd3acbe211e15031707588bc9d68cb7b0c2d8f500fad1ebfedfc4362ffab',
    )
  })

  it('both backends agree on every CCTV case whose key and R are not weak', () => {
    const cases = JSON.parse(vectorText('cctv-ed25519/ed25519vectors.json')) as CctvCase[]
    let count = 0
    for (const { key, msg, sig } of cases) {
      if (!isStrongEd25519PublicKey(hexDecode(key)) || !isStrongEd25519PublicKey(hexDecode(sig.slice(0, 64)))) continue
      count++
      const triple = [hexDecode(key), utf8Encode(msg), hexDecode(sig)] as const
      expect(portable.ed25519Verify(...triple)).toBe(accelerated.ed25519Verify(...triple))
    }
    expect(count).toBeGreaterThan(80)
  })

  it('ed25519Verify() accepts only case 3 of the 12 speccheck cases', () => {
    const cases = JSON.parse(vectorText('ed25519-speccheck/cases.json')) as SpeccheckCase[]
    const accepted = cases.flatMap(({ message, pub_key, signature }, index) =>
      ed25519Verify(hexDecode(pub_key), hexDecode(message), hexDecode(signature)) ? [index] : [],
    )
    expect(cases).toHaveLength(12)
    expect(accepted).toEqual([3])
  })
})

describe('ed25519', () => {
  // RFC 8032 §7.1, test 2.
  const seed = hexDecode('4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb')
  const publicKey = hexDecode('3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c')
  const message = Uint8Array.of(0x72)

  it('ed25519Sign() gives the signature of RFC 8032', () => {
    expect(ed25519PublicKey(seed)).toEqual(publicKey)
    expect(hexEncode(ed25519Sign(seed, message))).toBe(
      '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
    )
  })

  it('ed25519Verify() refuses each flipped bit of signature, key and message', () => {
    const signature = ed25519Sign(seed, message)
    for (const [name, bytes] of Object.entries({ signature, publicKey, message })) {
      for (let bit = 0; bit < bytes.length * 8; bit++) {
        const flipped = bytes.slice()
        flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7))
        const changed = { signature, publicKey, message, [name]: flipped }
        expect(ed25519Verify(changed.publicKey, changed.message, changed.signature), `${name} bit ${bit}`).toBe(false)
      }
    }
  })

  it('ed25519Verify() answers false for wrong lengths, without throwing', () => {
    const signature = ed25519Sign(seed, message)
    expect(ed25519Verify(publicKey.subarray(1), message, signature)).toBe(false)
    expect(ed25519Verify(publicKey, message, signature.subarray(1))).toBe(false)
    expect(ed25519Verify(new Uint8Array(0), message, new Uint8Array(0))).toBe(false)
  })

  it('isStrongEd25519PublicKey() refuses low order and non-canonical keys', () => {
    expect(isStrongEd25519PublicKey(publicKey)).toBe(true)
    expect(isStrongEd25519PublicKey(new Uint8Array(32))).toBe(false)
    expect(isStrongEd25519PublicKey(hexDecode(`f0${'ff'.repeat(30)}7f`))).toBe(false)
    expect(isStrongEd25519PublicKey(hexDecode(`ee${'ff'.repeat(31)}`))).toBe(false)
  })

  it('ed25519Sign() refuses a seed of another length', () => {
    expect(() => ed25519Sign(new Uint8Array(31), message)).toThrow(RangeError)
    expect(() => ed25519Sign('secret' as unknown as Uint8Array, message)).toThrow(TypeError)
  })
})

describe('ed25519Verify()', () => {
  it('leaves the bytes of a Buffer as they are', () => {
    const seed = sha256(utf8Encode('buffer'))
    for (let count = 0; count < 16; count++) {
      const message = utf8Encode(`message ${count}`)
      const key = Buffer.from(ed25519PublicKey(seed))
      const signature = Buffer.from(ed25519Sign(seed, message))
      expect(ed25519Verify(key, message, signature)).toBe(true)
      expect(isStrongEd25519PublicKey(key)).toBe(true)
      expect(hexEncode(key)).toBe(hexEncode(ed25519PublicKey(seed)))
      expect(hexEncode(signature)).toBe(hexEncode(ed25519Sign(seed, message)))
    }
  })
})

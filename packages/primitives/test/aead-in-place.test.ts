import { describe, expect, it } from 'vitest'
import { openAes256Gcm, sealAes256Gcm } from '../src/index.ts'
import * as accelerated from '../src/backend/accelerated.ts'
import * as portable from '../src/backend/portable.ts'

const key = new Uint8Array(32).fill(1)
const nonce = new Uint8Array(12).fill(2)
const aad = new Uint8Array([3])

describe.each([0, 1, 16, 131_071, 131_072, 131_073, 400_000])('sealAes256Gcm() of %i bytes', (length) => {
  const plaintext = Uint8Array.from({ length }, (_, index) => index * 7)

  it('gives the same in fresh memory, in memory given, and over its own plaintext', () => {
    const fresh = sealAes256Gcm(key, nonce, plaintext, { aad })
    const out = new Uint8Array(length + 40)
    expect(sealAes256Gcm(key, nonce, plaintext, { aad, out })).toEqual(fresh)
    expect(out.subarray(length + 16)).toEqual(new Uint8Array(24))
    const inPlace = new Uint8Array(length + 16)
    inPlace.set(plaintext)
    sealAes256Gcm(key, nonce, inPlace.subarray(0, length), { aad, out: inPlace })
    expect(inPlace).toEqual(fresh)
    expect(openAes256Gcm(key, nonce, fresh, { aad })).toEqual(plaintext)
  })

  it('gives the same on both backends', () => {
    const sealed = [accelerated, portable].map((backend) => {
      const bytes = new Uint8Array(length + 16)
      backend.sealAes256Gcm(key, nonce, plaintext, { aad, out: bytes })
      return bytes
    })
    expect(sealed[0]).toEqual(sealed[1])
  })
})

it('sealAes256Gcm() refuses memory that is too short', () => {
  expect(() => sealAes256Gcm(key, nonce, new Uint8Array(9), { aad, out: new Uint8Array(24) })).toThrow(RangeError)
})

it('an AEAD refuses additional data where its options belong: it would bind nothing', () => {
  const bytes = new Uint8Array(4) as object
  expect(() => sealAes256Gcm(key, nonce, new Uint8Array(9), bytes)).toThrow(TypeError)
  expect(() => openAes256Gcm(key, nonce, new Uint8Array(25), bytes)).toThrow(TypeError)
})

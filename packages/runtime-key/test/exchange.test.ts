import fc from 'fast-check'
import { concatBytes, hexEncode, sha256, utf8Encode } from '@keyturn/primitives'
import { describe, expect, it } from 'vitest'
import {
  EXCHANGE_HEADER_LENGTH,
  exchangePrologue,
  KEY_ANSWER_LENGTH,
  KEY_REQUEST_LENGTH,
  openKeyAnswer,
  parseExchangeRequest,
  parseKeyRequest,
  RuntimeKeyError,
  serverKeyHint,
  writeExchangeHeader,
  writeKeyAnswer,
  writeKeyRequest,
} from '../src/index.ts'
import { codeOf, keyBytes, makeKey } from './fixtures.ts'

const manifestSha256 = sha256(utf8Encode('manifest'))
const hint = serverKeyHint(keyBytes('server static'))
const header = writeExchangeHeader({ pattern: 'NK', serverKeyHint: hint })

describe('exchange header', () => {
  it('has the bytes of docs/spec/runtime-key.md §6', () => {
    expect(header).toHaveLength(EXCHANGE_HEADER_LENGTH)
    expect(hexEncode(header)).toBe(`01010000${hexEncode(sha256(keyBytes('server static'))).slice(0, 16)}`)
    expect(hexEncode(writeExchangeHeader({ pattern: 'IK', serverKeyHint: hint })).slice(0, 8)).toBe('01020000')
    expect(exchangePrologue(header)).toEqual(
      concatBytes(utf8Encode('keyturn-runtime-key-v1'), new Uint8Array(1), header),
    )
  })

  it('parseExchangeRequest() takes exactly 97 bytes for NK and 145 for IK', () => {
    for (let length = 0; length <= 200; length += 1) {
      for (const pattern of ['NK', 'IK'] as const) {
        const request = new Uint8Array(Math.max(length, 12))
        request.set(writeExchangeHeader({ pattern, serverKeyHint: hint }))
        const code = codeOf(() => parseExchangeRequest(request.subarray(0, length)))
        expect(code).toBe(length === (pattern === 'NK' ? 97 : 145) ? undefined : 'RK_MESSAGE')
      }
    }
  })

  it('parseExchangeRequest() refuses another version, pattern or padding', () => {
    for (const [at, byte] of [
      [0, 2],
      [0, 0],
      [1, 0],
      [1, 3],
      [2, 1],
      [3, 1],
    ] as const) {
      const request = new Uint8Array(97)
      request.set(header)
      request[at] = byte
      expect(codeOf(() => parseExchangeRequest(request))).toBe('RK_MESSAGE')
    }
  })
})

describe('key request', () => {
  it('is 37 bytes and comes back', () => {
    const payload = writeKeyRequest({ keyId: 7, manifestSha256 })
    expect(payload).toHaveLength(KEY_REQUEST_LENGTH)
    expect(hexEncode(payload)).toBe(`0107000000${hexEncode(manifestSha256)}`)
    expect(parseKeyRequest(payload)).toEqual({ keyId: 7, manifestSha256 })
  })

  it('is refused when cut, long, of another version or for key_id 0', () => {
    const payload = writeKeyRequest({ keyId: 7, manifestSha256 })
    for (let length = 0; length < 37; length += 1)
      expect(codeOf(() => parseKeyRequest(payload.subarray(0, length)))).toBe('RK_MESSAGE')
    expect(codeOf(() => parseKeyRequest(concatBytes(payload, new Uint8Array(1))))).toBe('RK_MESSAGE')
    expect(codeOf(() => parseKeyRequest(payload.map((byte, at) => (at === 0 ? 2 : byte))))).toBe('RK_MESSAGE')
    expect(codeOf(() => parseKeyRequest(payload.map((byte, at) => (at === 1 ? 0 : byte))))).toBe('RK_KEY_ID')
  })
})

describe('key answer', () => {
  it('carries the key in 92 bytes, which openKeyAnswer() wipes', () => {
    const payload = writeKeyAnswer({ runtimeKey: makeKey(7) })
    expect(payload).toHaveLength(KEY_ANSWER_LENGTH)
    expect(openKeyAnswer(payload, 7).withBytes(hexEncode)).toBe(hexEncode(keyBytes()))
    expect(payload).toEqual(new Uint8Array(92))
  })

  it('has the same length for yes and no, and each refusal its code and delay', () => {
    const refusals = ['RK_RELEASE_UNKNOWN', 'RK_KEY_ID_UNKNOWN', 'RK_NOT_YET', 'RK_REFUSED', 'RK_UNAVAILABLE'] as const
    refusals.forEach((refusal, index) => {
      const payload = writeKeyAnswer({ refusal, retryAfterS: 90 })
      expect(payload).toHaveLength(KEY_ANSWER_LENGTH)
      expect(payload[0]).toBe(index + 1)
      expect(() => openKeyAnswer(payload, 7)).toThrow(
        expect.objectContaining({ code: refusal, details: { status: index + 1, retryAfterS: 90 } }),
      )
    })
  })

  it('is refused for an unknown status, padding, key bytes in a refusal, or another key_id', () => {
    const refused = writeKeyAnswer({ refusal: 'RK_REFUSED' })
    const change = (payload: Uint8Array, at: number, byte: number): Uint8Array =>
      payload.map((old, index) => (index === at ? byte : old))
    expect(codeOf(() => openKeyAnswer(change(refused, 0, 6), 7))).toBe('RK_STATUS')
    expect(codeOf(() => openKeyAnswer(change(refused, 0, 255), 7))).toBe('RK_STATUS')
    expect(codeOf(() => openKeyAnswer(change(writeKeyAnswer({ refusal: 'RK_REFUSED' }), 1, 1), 7))).toBe('RK_MESSAGE')
    expect(codeOf(() => openKeyAnswer(change(writeKeyAnswer({ refusal: 'RK_REFUSED' }), 91, 1), 7))).toBe('RK_MESSAGE')
    expect(codeOf(() => openKeyAnswer(writeKeyAnswer({ runtimeKey: makeKey(8) }), 7))).toBe('RK_KEY_ID_MISMATCH')
    expect(codeOf(() => openKeyAnswer(new Uint8Array(91), 7))).toBe('RK_MESSAGE')
    expect(codeOf(() => openKeyAnswer(new Uint8Array(92), 7))).toBe('RK_BLOB')
  })

  it('any bytes are a key or an error of this package', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 160 }), (bytes) => {
        for (const parse of [
          () => openKeyAnswer(bytes.slice(), 7),
          () => parseKeyRequest(bytes),
          () => parseExchangeRequest(bytes),
        ]) {
          try {
            parse()
          } catch (error) {
            expect(error).toBeInstanceOf(RuntimeKeyError)
          }
        }
      }),
      { numRuns: 1000 },
    )
  })
})

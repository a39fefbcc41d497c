import { describe, expect, it } from 'vitest'
import { hexEncode, sha256, utf8Encode } from '@keyturn/primitives'
import { formatKeyRecord, homeserverDirectory, signKeyBinding } from '../src/index.ts'
import { deriveNoiseSeed } from '../src/owner/derive.ts'
import {
  deriveTransportSecret,
  deriveX25519ForDeviceEpoch,
  deriveX25519Prehistoric,
  deriveX25519Static,
  transportPublicKey,
} from '../src/owner/index.ts'
import { KeyFloors, verifyKeys } from '../src/reader/index.ts'
import type { Generation } from '../src/owner/index.ts'
import { askOnce, isHandshakeFailure, receiveOnce } from '../src/noise/index.ts'
import { clientKey, serverKey } from './noise-pairs.ts'
import { Publisher, START_S, summary } from './publisher.ts'
import { codeOf, rejectionOf } from './support.ts'

describe('deriveTransportSecret()', () => {
  it('is each generation, the device id in the place of the context', () => {
    const seed = sha256(utf8Encode('seed'))
    const place = { device: 'laptop', epoch: 3 }
    const expected: Record<string, Uint8Array> = {
      G2: deriveX25519Static(seed, 'laptop'),
      G1: deriveX25519ForDeviceEpoch(seed, 'laptop', 3, { allowShortDeviceId: true }),
      G0: deriveX25519Prehistoric(seed, { deviceId: 'laptop', epoch: 3 }),
      'G1+': deriveX25519ForDeviceEpoch(deriveNoiseSeed(seed, 'laptop'), 'laptop', 3, { allowShortDeviceId: true }),
    }
    for (const [generation, secret] of Object.entries(expected)) {
      expect([
        generation,
        hexEncode(deriveTransportSecret(seed, { ...place, generation: generation as Generation })),
      ]).toEqual([generation, hexEncode(secret)])
    }
    expect(codeOf(() => deriveTransportSecret(seed, { ...place, generation: 'G7' as Generation }))).toBe('NK_KDF')
    expect(deriveTransportSecret(seed, { generation: 'G2', device: 'x', context: 'laptop' })).toEqual(expected['G2'])
  })
})

describe('homeserverDirectory()', () => {
  const publisher = new Publisher()
  const { identity, seed } = publisher
  const answering = (
    status: number,
    body: BodyInit | null = null,
    devices: string[] = [],
  ): ReturnType<typeof homeserverDirectory> => {
    return homeserverDirectory({
      url: 'http://home/',
      devices,
      fetch: () => Promise.resolve(new Response(body, { status })),
    })
  }

  it('answers with its codes', async () => {
    expect((await answering(404).read(identity)).records.size).toBe(0)
    expect((await answering(200, '').read(identity)).list).toBeUndefined()
    for (const [status, code] of [
      [500, 'NK_UNREACHABLE'],
      [429, 'NK_UNREACHABLE'],
      [403, 'NK_RELAY'],
    ] as const) {
      expect(await rejectionOf(answering(status).read(identity))).toBe(code)
      expect(await rejectionOf(answering(status).putList(identity, new Uint8Array(1)))).toBe(code)
    }
    expect(await rejectionOf(answering(409).putRecord(identity, 'a', 'x'))).toBe('NK_CONFLICT')
    expect(await rejectionOf(answering(200, new Uint8Array(300_000)).read(identity))).toBe('NK_RELAY')
    const silent = homeserverDirectory({
      url: 'http://home',
      timeoutMs: 30,
      fetch: (_url, init) =>
        new Promise((_, reject) => {
          init?.signal?.addEventListener('abort', () => reject(new Error('late')))
        }),
    })
    expect(await rejectionOf(silent.read(identity, { signal: new AbortController().signal }))).toBe('NK_UNREACHABLE')
  })

  it('finds a plain record of the guide under the id that was given', async () => {
    const publicKey = transportPublicKey(deriveX25519Static(seed, 'default'))
    const text = formatKeyRecord({
      format: 'plain',
      publicKey,
      bindingSignature: signKeyBinding(seed, publicKey, 'default'),
      timestampS: START_S,
      revoked: false,
    })
    const directory = homeserverDirectory({
      url: 'http://home',
      devices: ['default', 'broken'],
      fetch: (url) =>
        Promise.resolve(
          url.endsWith('/v0/default')
            ? new Response(text)
            : url.endsWith('/v0/broken')
              ? new Response(Uint8Array.of(255))
              : new Response(null, { status: 404 }),
        ),
    })
    const verdicts = verifyKeys(identity, await directory.read(identity), new KeyFloors(), { nowS: START_S })
    expect(summary(verdicts)).toEqual(['default: legacy', 'broken: unverifiable NK_RECORD'])
  })
})

describe('askOnce() and receiveOnce()', () => {
  const NK = 'Noise_NK_25519_ChaChaPoly_SHA256'

  it('take patterns of two messages only, and answer once', () => {
    expect(() => askOnce('Noise_XX_25519_ChaChaPoly_SHA256', { staticKey: clientKey }, new Uint8Array())).toThrow(
      TypeError,
    )
    const asked = askOnce(NK, { remoteStatic: serverKey.publicKey }, utf8Encode('q'))
    const received = receiveOnce(NK, { staticKey: serverKey }, asked.message)
    received.answer(new Uint8Array())
    expect(codeOf(() => received.answer(new Uint8Array()))).toBe('NK_HANDSHAKE')
    asked.dispose()
    expect(codeOf(() => asked.readAnswer(new Uint8Array(48)))).toBe('NK_HANDSHAKE')
    received.dispose()
  })

  it('one answer for every failure', () => {
    for (const message of [new Uint8Array(0), new Uint8Array(48), new Uint8Array(48).fill(9), new Uint8Array(70_000)]) {
      try {
        receiveOnce(NK, { staticKey: serverKey }, message)
        expect.unreachable()
      } catch (error) {
        expect(isHandshakeFailure(error)).toBe(true)
      }
    }
    expect(isHandshakeFailure(new TypeError('x'))).toBe(false)
  })
})

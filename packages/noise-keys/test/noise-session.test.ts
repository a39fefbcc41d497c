import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { utf8Encode } from '@keyturn/primitives'
import {
  MAX_SESSION_PAYLOAD_BYTES,
  NoiseSession,
  NumberedReceiver,
  NumberedSender,
  ReplayWindow,
  SessionRegistry,
} from '../src/noise/index.ts'
import type { SessionLimits } from '../src/noise/index.ts'
import { clientKey, shake, sides } from './noise-pairs.ts'
import { codeOf } from './support.ts'

const ping = utf8Encode('ping')

function sessions(
  limits: Partial<SessionLimits> = {},
  protocol = 'Noise_IK_25519_ChaChaPoly_SHA256',
): {
  client: NoiseSession
  server: NoiseSession
  turn(ms: number): void
} {
  let nowMs = 1_000_000
  const [client, server] = shake(sides(protocol)).map(
    (result) => new NoiseSession(result, { clock: () => nowMs, limits }),
  ) as [NoiseSession, NoiseSession]
  return {
    client,
    server,
    turn: (ms) => {
      nowMs += ms
    },
  }
}

describe('NoiseSession', () => {
  it('carries messages both ways and has one name', () => {
    const { client, server } = sessions()
    expect(server.receive(client.send(ping))).toEqual(ping)
    expect(client.receive(server.send(new Uint8Array(MAX_SESSION_PAYLOAD_BYTES)))).toHaveLength(
      MAX_SESSION_PAYLOAD_BYTES,
    )
    expect(client.id).toEqual(server.id)
    expect(server.remoteStatic).toEqual(clientKey.publicKey)
    expect(codeOf(() => client.send(new Uint8Array(MAX_SESSION_PAYLOAD_BYTES + 1)))).toBe('NK_LIMIT')
  })

  it('a reordered, dropped or repeated message is NK_DECRYPT and ends the session (row 160)', () => {
    for (const pick of [[1], [0, 0], [2], [0, 2]]) {
      const { client, server } = sessions()
      const messages = [client.send(ping), client.send(ping), client.send(ping)]
      const codes = pick.map((index) => codeOf(() => server.receive(messages[index] as Uint8Array)))
      expect(codes.at(-1)).toBe('NK_DECRYPT')
      expect(server.ended).toBe('decrypt')
      expect(codeOf(() => server.receive(messages[0] as Uint8Array))).toBe('NK_SESSION_ENDED')
      expect(codeOf(() => server.send(ping))).toBe('NK_SESSION_ENDED')
    }
  })

  it('changes keys by messages, bytes and time, and both sides follow', () => {
    for (const limits of [{ rekeyAfterMessages: 3 }, { rekeyAfterBytes: 10 }, { rekeyAfterMs: 50 }]) {
      const { client, server, turn } = sessions(limits)
      for (let round = 0; round < 50; round += 1) {
        turn(20)
        expect(server.receive(client.send(ping))).toEqual(ping)
        expect(client.receive(server.send(ping))).toEqual(ping)
      }
    }
  })

  it('ends with a peer that never changes its key', () => {
    const [ours, theirs] = shake(sides('Noise_IK_25519_ChaChaPoly_SHA256'))
    const client = new NoiseSession(ours, { limits: { rekeyAfterMessages: 1000 } })
    const server = new NoiseSession(theirs, { limits: { rekeyAfterMessages: 5 } })
    const codes = Array.from({ length: 11 }, () => codeOf(() => server.receive(client.send(ping))))
    expect(codes.indexOf('NK_DECRYPT')).toBe(9)
    expect(server.ended).toBe('decrypt')
  })

  it('wants a new handshake after 24 h', () => {
    const { client, server, turn } = sessions()
    turn(86_399_999)
    expect(server.receive(client.send(ping))).toEqual(ping)
    turn(1)
    expect(codeOf(() => client.send(ping))).toBe('NK_SESSION_ENDED')
    expect(client.ended).toBe('age')
  })

  it('sessions of the old key go on through a rotation, no message lost (row 162)', () => {
    const { client, server } = sessions()
    const registry = new SessionRegistry()
    registry.add(server)
    const after = sessions({}, 'Noise_XX_25519_ChaChaPoly_SHA256')
    registry.add(after.server)
    for (let round = 0; round < 100; round += 1) {
      expect(server.receive(client.send(ping))).toEqual(ping)
      expect(after.server.receive(after.client.send(ping))).toEqual(ping)
    }
    expect(registry.size).toBe(2)
  })

  it('W15: a revocation ends every session with that key, and wipes', () => {
    const registry = new SessionRegistry()
    const first = sessions()
    const second = sessions({}, 'Noise_NK_25519_ChaChaPoly_SHA256')
    registry.add(first.server)
    registry.add(second.server)
    const ends: string[] = []
    first.server.onEnd((end) => ends.push(end))
    expect(registry.revokePeer(clientKey.publicKey)).toBe(1)
    expect(ends).toEqual(['revoked'])
    expect(codeOf(() => first.server.send(ping))).toBe('NK_SESSION_ENDED')
    expect(second.server.receive(second.client.send(ping))).toEqual(ping)
    expect(registry.endAll()).toBe(1)
    expect(registry.size).toBe(0)
  })
})

describe('explicit nonces', () => {
  const pair = (): [NumberedSender, NumberedReceiver] => {
    const [client, server] = shake(sides('Noise_NN_25519_ChaChaPoly_BLAKE2s'))
    return [new NumberedSender(client.send), new NumberedReceiver(server.receive)]
  }

  it('take messages in any order within 2048, each once', () => {
    fc.assert(
      fc.property(
        fc.shuffledSubarray(
          Array.from({ length: 60 }, (_, index) => index),
          { minLength: 1 },
        ),
        (order) => {
          const [sender, receiver] = pair()
          const messages = Array.from({ length: 60 }, (_, index) => sender.encrypt(Uint8Array.of(index)))
          for (const index of order) expect(receiver.decrypt(messages[index] as never)).toEqual(Uint8Array.of(index))
          for (const index of order) expect(codeOf(() => receiver.decrypt(messages[index] as never))).toBe('NK_REPLAY')
        },
      ),
      { numRuns: 30 },
    )
  })

  it('a forged message neither opens nor moves the window', () => {
    const [sender, receiver] = pair()
    const message = sender.encrypt(Uint8Array.of(1))
    expect(codeOf(() => receiver.decrypt({ ...message, nonce: 1_000_000n }))).toBe('NK_DECRYPT')
    expect(receiver.decrypt(message)).toEqual(Uint8Array.of(1))
  })

  it('ReplayWindow agrees with a plain set, jumps included', () => {
    const jump = fc.oneof(fc.integer({ min: -3000, max: 60 }), fc.constantFrom(31, 32, 33, 2047, 2048, 2049, 100_000))
    fc.assert(
      fc.property(fc.array(jump, { maxLength: 200 }), (jumps) => {
        const window = new ReplayWindow()
        const seen = new Set<bigint>()
        let newest = -1n
        for (const step of jumps) {
          const counter = newest + BigInt(step) < 0n ? 0n : newest + BigInt(step)
          const expected = !seen.has(counter) && counter > newest - 2048n
          expect(window.isNew(counter)).toBe(expected)
          if (!expected) continue
          window.mark(counter)
          seen.add(counter)
          if (counter > newest) newest = counter
        }
      }),
      { numRuns: 300 },
    )
  })
})

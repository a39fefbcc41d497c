import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, it } from 'vitest'
import { hexEncode, utf8Encode } from '@keyturn/primitives'
import {
  CipherState,
  HandshakeGate,
  HandshakeState,
  handshakePattern,
  noiseProtocol,
  PATTERN_NAMES,
} from '../src/noise/index.ts'
import { kdfVectors } from './kdf-vectors.ts'
import { clientKey, keyPair, seededRandom, serverKey, shake, sides } from './noise-pairs.ts'
import { codeOf, hex } from './support.ts'

const IK = 'Noise_IK_25519_ChaChaPoly_SHA256'
const XX = 'Noise_XX_25519_ChaChaPoly_BLAKE2s'

describe('handshakePattern()', () => {
  it('has the 38 patterns of the specification', () => {
    expect(PATTERN_NAMES).toHaveLength(38)
    expect(handshakePattern('XXpsk0+psk3').messages).toEqual([
      ['psk', 'e'],
      ['e', 'ee', 's', 'es'],
      ['s', 'se', 'psk'],
    ])
  })

  it('refuses what is none', () => {
    for (const name of ['', 'ik', 'IKpsk', 'IKpsk3', 'IKpsk1psk2', 'IKpsk1+psk1', 'YY', 'XXfallback', 'toString']) {
      expect(codeOf(() => handshakePattern(name))).toBe('NK_HANDSHAKE')
    }
    for (const name of [
      'Noise_IK_25519_ChaChaPoly',
      'noise_IK_25519_ChaChaPoly_SHA256',
      `${IK}_x`,
      'Noise_IK_P256_ChaChaPoly_SHA256',
      'Noise_IK_25519_toString_SHA256',
    ]) {
      expect(codeOf(() => noiseProtocol(name))).toBe('NK_HANDSHAKE')
    }
  })
})

describe('HandshakeState', () => {
  it.each(PATTERN_NAMES)('%s: both sides end with the same hash and matching ciphers', (name) => {
    const [client, server] = shake(sides(`Noise_${name}_25519_ChaChaPoly_SHA256`))
    expect(client.handshakeHash).toEqual(server.handshakeHash)
    expect(server.receive.decrypt(client.send.encrypt(utf8Encode('ping')))).toEqual(utf8Encode('ping'))
    if (!handshakePattern(name).oneWay)
      expect(client.receive.decrypt(server.send.encrypt(utf8Encode('pong')))).toEqual(utf8Encode('pong'))
  })

  it('another prologue, pattern or role fails at the first tag, and nothing comes out (row 156)', () => {
    const cases = [
      sides(IK, { prologue: utf8Encode('x') }),
      sides(IK, { responderProtocol: 'Noise_NK_25519_ChaChaPoly_SHA256' }),
    ]
    for (const [client, server] of cases) {
      const message = client.writeMessage(utf8Encode('secret'))
      expect(codeOf(() => server.readMessage(message))).toBe('NK_HANDSHAKE')
      expect(codeOf(() => server.writeMessage())).toBe('NK_HANDSHAKE')
    }
    const wrongServer = new HandshakeState(IK, {
      role: 'initiator',
      staticKey: clientKey,
      remoteStatic: keyPair('other').publicKey,
    })
    expect(codeOf(() => sides(IK)[1].readMessage(wrongServer.writeMessage()))).toBe('NK_HANDSHAKE')
    const [first, second] = [sides(IK)[0], sides(IK)[0]]
    expect(codeOf(() => second.readMessage(first.writeMessage()))).toBe('NK_HANDSHAKE')
  })

  it('a message cut at any byte, with bytes behind it or with any bit changed is NK_HANDSHAKE (row 157)', () => {
    for (const protocol of [IK, XX]) {
      const count = noiseProtocol(protocol).pattern.messages.length
      for (let index = 0; index < count; index += 1) {
        const prepare = (): [Uint8Array, HandshakeState] => {
          const pair = sides(protocol)
          let message = new Uint8Array()
          for (let done = 0; done <= index; done += 1) {
            const [from, to] = done % 2 === 0 ? pair : [pair[1], pair[0]]
            message = Uint8Array.from(from.writeMessage(utf8Encode('payload')))
            if (done < index) to.readMessage(message)
          }
          return [message, pair[index % 2 === 0 ? 1 : 0]]
        }
        const [whole, reader] = prepare()
        expect(reader.readMessage(whole)).toEqual(utf8Encode('payload'))
        // Without a key yet, a payload in the clear may have any length: message 1 of XX is bare.
        const bare = index === 0 && protocol === XX
        for (let length = 0; length < whole.length; length += 1) {
          const cut = whole.subarray(0, length)
          if (bare && length >= 32) continue
          expect(codeOf(() => prepare()[1].readMessage(cut))).toBe('NK_HANDSHAKE')
        }
        if (bare) continue
        expect(codeOf(() => prepare()[1].readMessage(Uint8Array.from([...whole, 0])))).toBe('NK_HANDSHAKE')
        for (let at = 0; at < whole.length; at += 1) {
          const changed = whole.map((byte, position) => (position === at ? byte ^ 1 : byte))
          expect(codeOf(() => prepare()[1].readMessage(changed))).toBe('NK_HANDSHAKE')
        }
      }
    }
  })

  it('a repeated first or last message is NK_REPLAY at the gate (row 157)', () => {
    const gate = new HandshakeGate()
    const message = sides(XX)[0].writeMessage()
    gate.admit(message)
    expect(codeOf(() => gate.admit(message))).toBe('NK_REPLAY')
    const pair = sides(XX)
    pair[1].readMessage(pair[0].writeMessage())
    pair[0].readMessage(pair[1].writeMessage())
    const last = pair[0].writeMessage()
    gate.admit(last)
    pair[1].readMessage(last)
    expect(codeOf(() => gate.admit(last))).toBe('NK_REPLAY')
    expect(codeOf(() => pair[1].readMessage(last))).toBe('NK_HANDSHAKE')
  })

  it('a static or ephemeral key of low order is NK_LOW_ORDER (row 144)', () => {
    for (const text of kdfVectors.low_order_x25519_public_keys_must_be_refused) {
      const client = new HandshakeState(IK, { role: 'initiator', staticKey: clientKey, remoteStatic: hex(text) })
      expect(codeOf(() => client.writeMessage())).toBe('NK_LOW_ORDER')
      const [, server] = sides(XX)
      server.readMessage(hex(text))
      expect(codeOf(() => server.writeMessage())).toBe('NK_LOW_ORDER')
      const [, responder] = sides('Noise_NK_25519_ChaChaPoly_SHA256')
      expect(codeOf(() => responder.readMessage(Uint8Array.from([...hex(text), ...new Uint8Array(16)])))).toBe(
        'NK_LOW_ORDER',
      )
    }
  })

  it('keys of another length are NK_KEY, missing ones a TypeError (row 146)', () => {
    expect(
      codeOf(
        () => new HandshakeState(IK, { role: 'initiator', staticKey: clientKey, remoteStatic: new Uint8Array(31) }),
      ),
    ).toBe('NK_KEY')
    expect(() => new HandshakeState(IK, { role: 'initiator', staticKey: clientKey })).toThrow(TypeError)
    expect(() => new HandshakeState(IK, { role: 'responder' })).toThrow(TypeError)
    expect(
      () => new HandshakeState(XX, { role: 'responder', staticKey: serverKey, remoteStatic: clientKey.publicKey }),
    ).toThrow(TypeError)
    expect(codeOf(() => new HandshakeState('Noise_NNpsk0_25519_ChaChaPoly_SHA256', { role: 'initiator' }))).toBe(
      'NK_KEY',
    )
  })

  it('refuses to write a message over 65,535 bytes (row 158)', () => {
    const [client] = sides(IK)
    expect(client.overhead).toBe(32 + 48 + 16)
    expect(codeOf(() => client.writeMessage(new Uint8Array(65_536 - 96)))).toBe('NK_LIMIT')
    expect(client.writeMessage(new Uint8Array(65_535 - 96))).toHaveLength(65_535)
    expect(codeOf(() => sides(IK)[1].readMessage(new Uint8Array(65_536)))).toBe('NK_HANDSHAKE')
  })

  it('wipes its keys after split() and after a failure', () => {
    const drawn: Uint8Array[] = []
    const random = (length: number): Uint8Array<ArrayBuffer> => {
      const bytes = Uint8Array.from(seededRandom('wiped')(length))
      drawn.push(bytes)
      return bytes
    }
    const client = new HandshakeState(IK, {
      role: 'initiator',
      staticKey: clientKey,
      remoteStatic: serverKey.publicKey,
      random,
    })
    const [, server] = sides(IK)
    server.readMessage(client.writeMessage())
    client.readMessage(server.writeMessage())
    expect(drawn[0]).not.toEqual(new Uint8Array(32))
    client.split()
    expect(drawn[0]).toEqual(new Uint8Array(32))
    expect(() => client.split()).toThrow(TypeError)
    const failing = new HandshakeState(IK, {
      role: 'initiator',
      staticKey: clientKey,
      remoteStatic: serverKey.publicKey,
      random,
    })
    failing.writeMessage()
    expect(codeOf(() => failing.readMessage(new Uint8Array(48).fill(9)))).toBe('NK_HANDSHAKE')
    expect(drawn[1]).toEqual(new Uint8Array(32))
    expect(clientKey.secretKey).toEqual(keyPair('client').secretKey)
  })

  it('transcripts of the deployed protocols come out byte for byte', () => {
    for (const vector of kdfVectors.transcripts) {
      const protocol = noiseProtocol(vector.protocol_name)
      const known = protocol.pattern.responderStaticKnown
      const pair = (['initiator', 'responder'] as const).map((role) => {
        const own = role === 'initiator' ? vector.init_static : vector.resp_static
        const ephemeral = role === 'initiator' ? vector.init_ephemeral : vector.resp_ephemeral
        return new HandshakeState(protocol, {
          role,
          prologue: utf8Encode(vector.prologue_utf8),
          ...(own === undefined
            ? {}
            : { staticKey: { secretKey: hex(own), publicKey: protocol.dh.publicKey(hex(own)) } }),
          ...(role === 'initiator' && known
            ? { remoteStatic: protocol.dh.publicKey(hex(vector.resp_static ?? '')) }
            : {}),
          random: () => new Uint8Array(hex(ephemeral ?? '00'.repeat(32))),
        })
      }) as [HandshakeState, HandshakeState]
      vector.messages.forEach(({ message, payload_utf8: payload }, index) => {
        const [from, to] = index % 2 === 0 ? pair : [pair[1], pair[0]]
        expect(hexEncode(from.writeMessage(utf8Encode(payload)))).toBe(message)
        expect(to.readMessage(hex(message))).toEqual(utf8Encode(payload))
      })
      expect(hexEncode(pair[0].split().handshakeHash)).toBe(vector.handshake_hash_is_session_id)
    }
    expect(kdfVectors.transcripts).toHaveLength(6)
  })
})

/** What is really in use: garbage not yet collected says nothing. */
function liveBytes(): number {
  setFlagsFromString('--expose-gc')
  ;(runInNewContext('gc') as () => void)()
  return process.memoryUsage().heapUsed
}

describe('HandshakeGate', () => {
  it('keeps at most 256 unfinished handshakes, the oldest goes, all go after 10 s, memory stays small (row 161)', () => {
    let nowMs = 0
    const gate = new HandshakeGate({ clock: () => nowMs })
    const before = liveBytes()
    for (let index = 0; index < 1000; index += 1) {
      nowMs += 1
      const [client, server] = sides(XX)
      server.readMessage(client.writeMessage())
      gate.keep(`h${index}`, server)
    }
    expect(gate.pendingCount).toBe(256)
    expect(liveBytes() - before).toBeLessThan(32 * 2 ** 20)
    expect(codeOf(() => gate.take('h700'))).toBe('NK_HANDSHAKE')
    expect(gate.take('h999').isMyTurn).toBe(true)
    expect(codeOf(() => gate.take('h999'))).toBe('NK_HANDSHAKE')
    nowMs += 10_000
    expect(codeOf(() => gate.take('h998'))).toBe('NK_HANDSHAKE')
    expect(gate.pendingCount).toBe(0)
  })

  it('remembers a bounded number of messages', () => {
    const gate = new HandshakeGate({ maxRemembered: 2 })
    for (const byte of [1, 2, 3]) gate.admit(Uint8Array.of(byte))
    expect(codeOf(() => gate.admit(Uint8Array.of(3)))).toBe('NK_REPLAY')
    expect(codeOf(() => gate.admit(Uint8Array.of(1)))).toBeUndefined()
  })
})

describe('CipherState', () => {
  const make = (): [CipherState, CipherState] => {
    const { cipher } = noiseProtocol(IK)
    return [new CipherState(cipher, new Uint8Array(32).fill(7)), new CipherState(cipher, new Uint8Array(32).fill(7))]
  }

  it('at nonce 2^64-2 sends one more message, then NK_NONCE_EXHAUSTED, and never wraps (row 159)', () => {
    const [sender, receiver] = make()
    sender.nonce = 0xffff_ffff_ffff_fffen
    receiver.nonce = sender.nonce
    expect(receiver.decrypt(sender.encrypt(Uint8Array.of(1)))).toEqual(Uint8Array.of(1))
    for (let attempt = 0; attempt < 3; attempt += 1) {
      expect(codeOf(() => sender.encrypt(Uint8Array.of(2)))).toBe('NK_NONCE_EXHAUSTED')
      expect(codeOf(() => receiver.decrypt(new Uint8Array(17)))).toBe('NK_NONCE_EXHAUSTED')
    }
  })

  it('over 65,535 bytes is NK_LIMIT, an empty message with a bad tag NK_DECRYPT (row 158)', () => {
    const [sender, receiver] = make()
    expect(codeOf(() => sender.encrypt(new Uint8Array(65_520)))).toBe('NK_LIMIT')
    expect(receiver.decrypt(sender.encrypt(new Uint8Array(65_519)))).toHaveLength(65_519)
    expect(codeOf(() => receiver.decrypt(new Uint8Array(65_536)))).toBe('NK_LIMIT')
    expect(codeOf(() => receiver.decrypt(new Uint8Array(16)))).toBe('NK_DECRYPT')
    expect(codeOf(() => receiver.decrypt(new Uint8Array(5)))).toBe('NK_DECRYPT')
  })

  it('advances its counter only when a message opens', () => {
    const [sender, receiver] = make()
    const message = sender.encrypt(Uint8Array.of(1))
    expect(codeOf(() => receiver.decrypt(message.map((byte) => byte ^ 1)))).toBe('NK_DECRYPT')
    expect(receiver.nonce).toBe(0n)
    expect(receiver.decrypt(message)).toEqual(Uint8Array.of(1))
  })

  it('rekey() changes both sides alike and keeps the counter', () => {
    const [sender, receiver] = make()
    receiver.decrypt(sender.encrypt(Uint8Array.of(1)))
    sender.rekey()
    const message = sender.encrypt(Uint8Array.of(2))
    expect(codeOf(() => receiver.decrypt(message))).toBe('NK_DECRYPT')
    receiver.rekey()
    expect(receiver.decrypt(message)).toEqual(Uint8Array.of(2))
    expect(receiver.nonce).toBe(2n)
  })
})

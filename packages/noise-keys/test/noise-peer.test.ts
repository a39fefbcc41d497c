import { createRequire } from 'node:module'
import { beforeAll, describe, expect, it } from 'vitest'
import { utf8Encode } from '@keyturn/primitives'
import {
  EXCHANGE_ANSWER_LENGTH,
  EXCHANGE_PROTOCOLS,
  EXCHANGE_REQUEST_LENGTHS,
  exchangePrologue,
  openKeyAnswer,
  parseExchangeRequest,
  parseKeyRequest,
  RuntimeKey,
  serverKeyHint,
  writeExchangeHeader,
  writeKeyAnswer,
  writeKeyRequest,
} from '@keyturn/runtime-key'
import { askOnce, HandshakeState, noiseProtocol, receiveOnce } from '../src/noise/index.ts'
import type { HandshakeOptions } from '../src/noise/index.ts'
import { clientKey, serverKey } from './noise-pairs.ts'
import { codeOf } from './support.ts'

interface PeerCipher {
  EncryptWithAd(ad: Uint8Array, bytes: Uint8Array): Uint8Array
  DecryptWithAd(ad: Uint8Array, bytes: Uint8Array): Uint8Array
}
interface PeerState {
  Initialize(prologue: Uint8Array | null, s: Uint8Array | null, rs: Uint8Array | null): void
  WriteMessage(payload: Uint8Array | null): Uint8Array
  ReadMessage(message: Uint8Array, payloadNeeded: boolean): Uint8Array
  GetHandshakeHash(): Uint8Array
  Split(): [PeerCipher, PeerCipher]
}
interface Peer {
  constants: { NOISE_ROLE_INITIATOR: number; NOISE_ROLE_RESPONDER: number }
  HandshakeState(protocol: string, role: number): PeerState
}

let peer: Peer
beforeAll(async () => {
  const create = createRequire(import.meta.url)('noise-c.wasm') as (done: (peer: Peer) => void) => void
  peer = await new Promise((resolve) => create(resolve))
})

const prologue = utf8Encode('keyturn peer test')
const PATTERNS = ['N', 'K', 'X', 'NN', 'KN', 'NK', 'KK', 'NX', 'KX', 'XN', 'IN', 'XK', 'IK', 'XX', 'IX']
const SUITES = [
  '25519_ChaChaPoly_SHA256',
  '25519_ChaChaPoly_BLAKE2s',
  '25519_AESGCM_SHA512',
  '25519_ChaChaPoly_BLAKE2b',
  '448_ChaChaPoly_SHA256',
]
const protocols = PATTERNS.flatMap((pattern) => SUITES.map((suite) => `Noise_${pattern}_${suite}`))

/** A handshake with the C library in one role and ours in the other, then messages both ways. */
function meet(protocol: string, role: 'initiator' | 'responder'): void {
  const { pattern, dh } = noiseProtocol(protocol)
  const [own, other] = [
    dh.keyLength === 32 ? clientKey.secretKey : new Uint8Array(56).fill(3),
    dh.keyLength === 32 ? serverKey.secretKey : new Uint8Array(56).fill(5),
  ]
  const [ownPublic, otherPublic] = [dh.publicKey(own), dh.publicKey(other)]
  const remoteKnown = role === 'initiator' ? pattern.responderStaticKnown : pattern.initiatorStaticKnown
  const options: HandshakeOptions = {
    role,
    prologue,
    staticKey: { secretKey: own, publicKey: ownPublic },
    ...(remoteKnown ? { remoteStatic: otherPublic } : {}),
  }
  const ours = new HandshakeState(protocol, options)
  const theirs = peer.HandshakeState(
    protocol,
    role === 'initiator' ? peer.constants.NOISE_ROLE_RESPONDER : peer.constants.NOISE_ROLE_INITIATOR,
  )
  theirs.Initialize(prologue, other, ownPublic)
  const payload = utf8Encode('payload')
  while (!ours.isComplete) {
    if (ours.isMyTurn) expect([...theirs.ReadMessage(ours.writeMessage(payload), true)]).toEqual([...payload])
    else expect(ours.readMessage(Uint8Array.from(theirs.WriteMessage(payload)))).toEqual(payload)
  }
  const { send, receive, handshakeHash } = ours.split()
  expect([...theirs.GetHandshakeHash()]).toEqual([...handshakeHash])
  const [theirSend, theirReceive] = theirs.Split()
  const empty = new Uint8Array(0)
  if (!pattern.oneWay || role === 'initiator')
    expect([...theirReceive.DecryptWithAd(empty, send.encrypt(payload))]).toEqual([...payload])
  if (!pattern.oneWay || role === 'responder')
    expect(receive.decrypt(Uint8Array.from(theirSend.EncryptWithAd(empty, payload)))).toEqual(payload)
}

describe('noise-c.wasm, the C implementation', () => {
  it('agrees in both roles on all 15 base patterns under 5 suites', { timeout: 120_000 }, () => {
    let count = 0
    for (const protocol of protocols) {
      for (const role of ['initiator', 'responder'] as const) {
        meet(protocol, role)
        count += 1
      }
    }
    expect(count).toBe(150)
  })
})

describe.each(['NK', 'IK'] as const)('runtime key exchange, %s', (pattern) => {
  const keyId = 7
  const manifestSha256 = new Uint8Array(32).fill(9)
  const key = new Uint8Array(32).fill(0x11)
  const makeKey = (): RuntimeKey =>
    RuntimeKey.take({
      keyId,
      masterKey: key.slice(),
      signPublicKey: Uint8Array.from(
        Buffer.from('5ab2a2d4e5cb3f0911f2b542e5c89625d792ef545025dc387c635f78da5b8379', 'hex'),
      ),
    })
  const protocol = EXCHANGE_PROTOCOLS[pattern]
  const header = writeExchangeHeader({ pattern, serverKeyHint: serverKeyHint(serverKey.publicKey) })
  const client = {
    prologue: exchangePrologue(header),
    remoteStatic: serverKey.publicKey,
    ...(pattern === 'IK' ? { staticKey: clientKey } : {}),
  }
  const request = writeKeyRequest({ keyId, manifestSha256 })

  it('has the byte lengths of docs/spec/runtime-key.md §6, for yes and for no', () => {
    for (const answer of [{ runtimeKey: makeKey() }, { refusal: 'RK_REFUSED' } as const]) {
      const asked = askOnce(protocol, client, request)
      const body = Uint8Array.from([...header, ...asked.message])
      expect(body).toHaveLength(EXCHANGE_REQUEST_LENGTHS[pattern])
      expect(EXCHANGE_REQUEST_LENGTHS[pattern]).toBe(pattern === 'NK' ? 97 : 145)
      const parsed = parseExchangeRequest(body)
      const received = receiveOnce(
        EXCHANGE_PROTOCOLS[parsed.pattern],
        { prologue: exchangePrologue(parsed.header), staticKey: serverKey },
        parsed.message,
      )
      expect(parseKeyRequest(received.payload)).toEqual({ keyId, manifestSha256 })
      expect(received.remoteStatic).toEqual(pattern === 'IK' ? clientKey.publicKey : undefined)
      const reply = received.answer(writeKeyAnswer(answer))
      expect(reply).toHaveLength(EXCHANGE_ANSWER_LENGTH)
      expect(EXCHANGE_ANSWER_LENGTH).toBe(140)
      const open = (): unknown => openKeyAnswer(asked.readAnswer(reply), keyId).withBytes((bytes) => bytes.slice())
      if ('refusal' in answer) expect(codeOf(open)).toBe('RK_REFUSED')
      else expect(open()).toEqual(key)
    }
  })

  it('works with the C implementation as the client and as the server', () => {
    const theirs = peer.HandshakeState(protocol, peer.constants.NOISE_ROLE_INITIATOR)
    theirs.Initialize(client.prologue, clientKey.secretKey, serverKey.publicKey)
    const message = Uint8Array.from(theirs.WriteMessage(request))
    expect(message.length + 12).toBe(EXCHANGE_REQUEST_LENGTHS[pattern])
    const received = receiveOnce(protocol, { prologue: client.prologue, staticKey: serverKey }, message)
    const payload = theirs.ReadMessage(received.answer(writeKeyAnswer({ runtimeKey: makeKey() })), true)
    expect(openKeyAnswer(Uint8Array.from(payload), keyId).withBytes((bytes) => bytes.slice())).toEqual(key)

    const server = peer.HandshakeState(protocol, peer.constants.NOISE_ROLE_RESPONDER)
    server.Initialize(client.prologue, serverKey.secretKey, null)
    const asked = askOnce(protocol, client, request)
    expect(parseKeyRequest(Uint8Array.from(server.ReadMessage(asked.message, true)))).toEqual({ keyId, manifestSha256 })
    const reply = Uint8Array.from(server.WriteMessage(writeKeyAnswer({ runtimeKey: makeKey() })))
    expect(reply).toHaveLength(EXCHANGE_ANSWER_LENGTH)
    expect(openKeyAnswer(asked.readAnswer(reply), keyId).withBytes((bytes) => bytes.slice())).toEqual(key)
  })

  it('fails as one when any bit of request or answer is changed, or the header is another', () => {
    for (let at = 0; at < EXCHANGE_REQUEST_LENGTHS[pattern]; at += 1) {
      const asked = askOnce(protocol, client, request)
      const body = Uint8Array.from([...header, ...asked.message])
      body[at] = (body[at] ?? 0) ^ 1
      const code = codeOf(() => {
        const parsed = parseExchangeRequest(body)
        receiveOnce(
          EXCHANGE_PROTOCOLS[parsed.pattern],
          { prologue: exchangePrologue(parsed.header), staticKey: serverKey },
          parsed.message,
        )
      })
      expect(code).toBe(at < 4 ? 'RK_MESSAGE' : 'NK_HANDSHAKE')
    }
    const asked = askOnce(protocol, client, request)
    const reply = receiveOnce(protocol, { prologue: client.prologue, staticKey: serverKey }, asked.message).answer(
      writeKeyAnswer({ refusal: 'RK_NOT_YET' }),
    )
    reply[60] = (reply[60] ?? 0) ^ 1
    expect(codeOf(() => asked.readAnswer(reply))).toBe('NK_HANDSHAKE')
  })
})

import { noise } from '@chainsafe/libp2p-noise'
import { generateKeyPair } from '@libp2p/crypto/keys'
import { defaultLogger } from '@libp2p/logger'
import type { ConnectionEncrypter, MessageStream, PrivateKey, Upgrader } from '@libp2p/interface'
import { peerIdFromPublicKey } from '@libp2p/peer-id'
import { multiaddrConnectionPair } from '@libp2p/utils'
import { concatBytes, equalBytes } from '@keyturn/primitives'
import { describe, expect, it } from 'vitest'
import { keyturnNoise } from '../libp2p-noise.ts'

type Make = (privateKey: PrivateKey) => ConnectionEncrypter

const ours: Make = (privateKey) => keyturnNoise()({ privateKey })
/** The implementation that libp2p nodes use, with the parts of a node that it asks for. */
const theirs: Make = (privateKey) => {
  const upgrader = { getStreamMuxers: () => new Map() } as unknown as Upgrader
  return noise()({ privateKey, upgrader, logger: defaultLogger(), peerId: peerIdFromPublicKey(privateKey.publicKey) })
}

function readBytes(stream: MessageStream, length: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  return new Promise((resolve) => {
    stream.addEventListener('message', ({ data }) => {
      parts.push(data.subarray())
      if (parts.reduce((sum, part) => sum + part.length, 0) >= length) resolve(concatBytes(...parts))
    })
  })
}

const bytes = new Uint8Array(150_000).map((_, index) => index * 3)

describe('keyturnNoise()', () => {
  it.each<[string, Make, Make]>([
    ['ours calls the one of libp2p', ours, theirs],
    ['the one of libp2p calls ours', theirs, ours],
    ['ours calls ours', ours, ours],
  ])('%s: both know who the other is, and bytes go both ways', async (_what, caller, callee) => {
    const [left, right] = [await generateKeyPair('Ed25519'), await generateKeyPair('secp256k1')]
    const [outbound, inbound] = multiaddrConnectionPair()
    const [called, taken] = await Promise.all([
      caller(left).secureOutbound(outbound, { remotePeer: peerIdFromPublicKey(right.publicKey) }),
      callee(right).secureInbound(inbound),
    ])
    expect(called.remotePeer.toString()).toBe(peerIdFromPublicKey(right.publicKey).toString())
    expect(taken.remotePeer.toString()).toBe(peerIdFromPublicKey(left.publicKey).toString())
    for (const [from, to] of [
      [called.connection, taken.connection],
      [taken.connection, called.connection],
    ] as const) {
      const got = readBytes(to, bytes.length)
      from.send(bytes)
      expect(equalBytes(await got, bytes)).toBe(true)
    }
    await called.connection.close()
  })

  it.each<[string, Make]>([
    ['ours', ours],
    ['the one of libp2p', theirs],
  ])('refuses %s when another peer answers than the one called', async (_what, callee) => {
    const [left, right, expected] = await Promise.all([0, 1, 2].map(() => generateKeyPair('Ed25519')))
    const [outbound, inbound] = multiaddrConnectionPair()
    const signal = AbortSignal.timeout(2000)
    const answering = callee(right as PrivateKey)
      .secureInbound(inbound, { signal })
      .catch(() => undefined)
    const remotePeer = peerIdFromPublicKey((expected as PrivateKey).publicKey)
    await expect(ours(left as PrivateKey).secureOutbound(outbound, { remotePeer })).rejects.toThrow('Another peer')
    outbound.abort(new Error('refused'))
    await answering
  })
})

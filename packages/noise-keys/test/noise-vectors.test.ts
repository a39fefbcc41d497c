import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { hexEncode } from '@keyturn/primitives'
import { HandshakeState, noiseKeyPair, noiseProtocol } from '../src/noise/index.ts'
import type { CipherState, HandshakeOptions, NoiseKeyPair, NoiseProtocol } from '../src/noise/index.ts'
import { fetchVectors } from './fetch-vectors.ts'
import { hex, publishedVectors } from './support.ts'

interface Vector {
  protocol_name: string
  init_prologue: string
  resp_prologue: string
  init_psks?: string[]
  resp_psks?: string[]
  init_static?: string
  resp_static?: string
  init_ephemeral?: string
  resp_ephemeral?: string
  init_remote_static?: string
  resp_remote_static?: string
  handshake_hash?: string
  messages: { payload: string; ciphertext: string }[]
}

// The vectors share a handful of static keys; X448 public keys are worth keeping.
const keyPairs = new Map<string, NoiseKeyPair>()
function keyPairOf(protocol: NoiseProtocol, secret: string): NoiseKeyPair {
  const known = keyPairs.get(secret) ?? noiseKeyPair(protocol.dh, hex(secret))
  keyPairs.set(secret, known)
  return known
}

function sideOf(vector: Vector, protocol: NoiseProtocol, role: 'initiator' | 'responder'): HandshakeState {
  const initiator = role === 'initiator'
  const staticKey = initiator ? vector.init_static : vector.resp_static
  const remoteStatic = initiator ? vector.init_remote_static : vector.resp_remote_static
  const ephemeral = initiator ? vector.init_ephemeral : vector.resp_ephemeral
  const psks = initiator ? vector.init_psks : vector.resp_psks
  const options: HandshakeOptions = {
    role,
    prologue: hex(initiator ? vector.init_prologue : vector.resp_prologue),
    ...(staticKey === undefined ? {} : { staticKey: keyPairOf(protocol, staticKey) }),
    ...(remoteStatic === undefined ? {} : { remoteStatic: hex(remoteStatic) }),
    ...(psks === undefined ? {} : { psks: psks.map(hex) }),
    random: () => new Uint8Array(hex(ephemeral ?? '')),
  }
  return new HandshakeState(protocol, options)
}

/** Runs both sides of a vector; answers what differs, or nothing. */
function run(vector: Vector): string | undefined {
  const protocol = noiseProtocol(vector.protocol_name)
  const sides = [sideOf(vector, protocol, 'initiator'), sideOf(vector, protocol, 'responder')] as const
  let ciphers: { send: CipherState; receive: CipherState }[] | undefined
  for (const [index, { payload, ciphertext }] of vector.messages.entries()) {
    const from = protocol.pattern.oneWay || index % 2 === 0 ? 0 : 1
    const to = 1 - from
    if (ciphers === undefined) {
      const written = (sides[from] as HandshakeState).writeMessage(hex(payload))
      if (hexEncode(written) !== ciphertext) return `message ${index} differs`
      if (hexEncode((sides[to] as HandshakeState).readMessage(written)) !== payload) return `payload ${index} differs`
      if (sides[0].isComplete) {
        const results = sides.map((side) => side.split())
        if (
          results.some(
            ({ handshakeHash }) => hexEncode(handshakeHash) !== (vector.handshake_hash ?? hexEncode(handshakeHash)),
          )
        )
          return 'hash differs'
        ciphers = results
      }
      continue
    }
    const sealed = (ciphers[from] as { send: CipherState }).send.encrypt(hex(payload))
    if (hexEncode(sealed) !== ciphertext) return `transport message ${index} differs`
    if (hexEncode((ciphers[to] as { receive: CipherState }).receive.decrypt(sealed)) !== payload)
      return `plaintext ${index} differs`
  }
  return ciphers === undefined ? 'never finished' : undefined
}

it('fetchVectors() writes no file with another digest than the published one', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'keyturn-vectors-'))
  try {
    await expect(fetchVectors(folder, async () => new Response('{}'))).rejects.toThrow('cacophony.txt has the SHA-256')
    await expect(fetchVectors(folder, async () => new Response('', { status: 404 }))).rejects.toThrow('answered 404')
    expect(await readdir(folder)).toEqual([])
  } finally {
    await rm(folder, { recursive: true })
  }
})

describe.each([
  ['cacophony', 944],
  ['snow', 408],
] as const)('noise/%s.txt', (name, total) => {
  const text = publishedVectors(`noise/${name}.txt`)
  it.skipIf(text === undefined)(`all ${total} vectors agree, byte for byte in both roles`, { timeout: 300_000 }, () => {
    const { vectors } = JSON.parse(text ?? '{"vectors":[]}') as { vectors: Vector[] }
    const wrong = vectors
      .map((vector) => [vector.protocol_name, run(vector)])
      .filter(([, problem]) => problem !== undefined)
    expect(wrong).toEqual([])
    expect(vectors).toHaveLength(total)
    const plain = vectors.filter((vector) =>
      /^Noise_[A-Z0-9]+_25519_ChaChaPoly_(SHA256|BLAKE2s)$/.test(vector.protocol_name),
    )
    console.info(
      `${name}: ${vectors.length} of ${total} agree; 25519 + ChaChaPoly without psk, SHA256 and BLAKE2s: ` +
        `${plain.length}`,
    )
    expect(plain).toHaveLength(76)
  })
})

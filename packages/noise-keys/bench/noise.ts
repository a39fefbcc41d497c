// IK handshakes against their bare X25519 operations, transport against bare ChaCha20-Poly1305, and whole handshakes
// against those of noise-handshake on the same libsodium, by processor time: `pnpm bench`.
import { createCipheriv, createDecipheriv, createPublicKey, diffieHellman, generateKeyPairSync } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { HandshakeState, noiseKeyPair, noiseProtocol } from '@keyturn/noise-keys/noise'
import type { CipherState, NoiseKeyPair } from '@keyturn/noise-keys/noise'
import Noise from 'noise-handshake'
import type { PeerKeys } from 'noise-handshake'

const ROUNDS = 5
const protocol = noiseProtocol('Noise_IK_25519_ChaChaPoly_SHA256')
const [client, server] = [noiseKeyPair(protocol.dh), noiseKeyPair(protocol.dh)]

function handshake(): { send: CipherState; receive: CipherState } {
  const initiator = new HandshakeState(protocol, {
    role: 'initiator',
    staticKey: client,
    remoteStatic: server.publicKey,
  })
  const responder = new HandshakeState(protocol, { role: 'responder', staticKey: server })
  responder.readMessage(initiator.writeMessage())
  initiator.readMessage(responder.writeMessage())
  const { send } = initiator.split()
  const { receive } = responder.split()
  return { send, receive }
}

const privateKeys = Array.from({ length: 2 }, () => generateKeyPairSync('x25519'))
const publicDer = privateKeys.map(({ publicKey }) => publicKey.export({ format: 'der', type: 'spki' }))

/**
 * What an IK pair needs and cannot do without: on each side one key pair, four agreements, the keys that arrive
 * imported.
 */
function bareHandshake(): void {
  for (const side of [0, 1]) {
    generateKeyPairSync('x25519')
    const own = privateKeys[side]?.privateKey as KeyObject
    const arrived = createPublicKey({ key: publicDer[1 - side] as Buffer, format: 'der', type: 'spki' })
    for (let agreement = 0; agreement < 4; agreement += 1) diffieHellman({ privateKey: own, publicKey: arrived })
  }
}

/** The same agreements alone, keys prepared: nothing that speaks to anybody gets there. */
function bareAgreements(): void {
  for (const side of [0, 1]) {
    const privateKey = privateKeys[side]?.privateKey as KeyObject
    const publicKey = privateKeys[1 - side]?.publicKey as KeyObject
    for (let agreement = 0; agreement < 5; agreement += 1) diffieHellman({ privateKey, publicKey })
  }
}

const plaintext = new Uint8Array(65_519).fill(7)
const { send, receive } = handshake()

function transport(): void {
  receive.decrypt(send.encrypt(plaintext))
}

const key = new Uint8Array(32).fill(9)
const nonce = new Uint8Array(12)

function bareTransport(): void {
  const cipher = createCipheriv('chacha20-poly1305', key, nonce, { authTagLength: 16 })
  const ciphertext = cipher.update(plaintext)
  cipher.final()
  const tag = cipher.getAuthTag()
  const decipher = createDecipheriv('chacha20-poly1305', key, nonce, { authTagLength: 16 })
  decipher.setAuthTag(tag)
  decipher.update(ciphertext)
  decipher.final()
}

/** Median rate of several rounds that are interleaved, so that a busy moment hits all alike. */
function rates(tasks: Readonly<Record<string, () => void>>, msPerRound: number): Record<string, number> {
  const seen: Record<string, number[]> = {}
  for (const task of Object.values(tasks)) for (let warm = 0; warm < 50; warm += 1) task()
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const [name, task] of Object.entries(tasks)) {
      const start = performance.now()
      let count = 0
      while (performance.now() - start < msPerRound) {
        task()
        count += 1
      }
      ;(seen[name] ??= []).push((count * 1000) / (performance.now() - start))
    }
  }
  return Object.fromEntries(
    Object.entries(seen).map(([name, values]) => [name, values.sort((a, b) => a - b)[ROUNDS >> 1] as number]),
  )
}

const handshakes = rates({ handshake, bareHandshake, bareAgreements }, 500)
const messages = rates({ transport, bareTransport }, 500)
const perSecond = (value: number | undefined): string => `${Math.round(value ?? 0)}/s`
const ratio = (value: number | undefined, limit: number | undefined): string => ((value ?? 0) / (limit ?? 1)).toFixed(2)
console.log(`IK handshake, both sides          ${perSecond(handshakes['handshake'])}`)
console.log(
  `  bare X25519 of node:crypto      ${perSecond(handshakes['bareHandshake'])}  ratio ` +
    `${ratio(handshakes['handshake'], handshakes['bareHandshake'])}  (wanted 0.60)`,
)
console.log(
  `  ten agreements, keys prepared   ${perSecond(handshakes['bareAgreements'])}  ratio ` +
    `${ratio(handshakes['handshake'], handshakes['bareAgreements'])}`,
)
console.log(`transport, 64 KiB there and open  ${perSecond(messages['transport'])}`)
console.log(
  `  bare chacha20-poly1305          ${perSecond(messages['bareTransport'])}  ratio ` +
    `${ratio(messages['transport'], messages['bareTransport'])}  (wanted 0.80)`,
)

/** Most processor time of a handshake, as a multiple of what noise-handshake takes. */
const MOST_OF_NOISE_HANDSHAKE = 1.3
const HANDSHAKES = 200

/** Both sides of a handshake with static keys on both, ours: BLAKE2b, the one hash of noise-handshake. */
function ours(pattern: 'XX' | 'IK'): () => void {
  const suite = noiseProtocol(`Noise_${pattern}_25519_ChaChaPoly_BLAKE2b`)
  const remoteStatic = pattern === 'IK' ? server.publicKey : undefined
  return () => {
    const initiator = new HandshakeState(suite, { role: 'initiator', staticKey: client, remoteStatic })
    const responder = new HandshakeState(suite, { role: 'responder', staticKey: server })
    responder.readMessage(initiator.writeMessage())
    initiator.readMessage(responder.writeMessage())
    if (pattern === 'XX') responder.readMessage(initiator.writeMessage())
    initiator.split()
    responder.split()
  }
}

/** The same by noise-handshake, with the same keys. */
function theirs(pattern: 'XX' | 'IK'): () => void {
  const pair = ({ publicKey, secretKey }: NoiseKeyPair): PeerKeys => ({
    publicKey: Buffer.from(publicKey),
    secretKey: Buffer.from(secretKey),
  })
  const [own, remote] = [pair(client), pair(server)]
  const prologue = Buffer.alloc(0)
  return () => {
    const [initiator, responder] = [new Noise(pattern, true, own), new Noise(pattern, false, remote)]
    initiator.initialise(prologue, pattern === 'IK' ? remote.publicKey : undefined)
    responder.initialise(prologue)
    responder.recv(initiator.send())
    initiator.recv(responder.send())
    if (pattern === 'XX') responder.recv(initiator.send())
    if (!initiator.complete || !responder.complete) throw new Error('A handshake of noise-handshake did not end')
  }
}

function processorMs(task: () => void): number {
  const before = process.cpuUsage()
  for (let count = 0; count < HANDSHAKES; count += 1) task()
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1000 / HANDSHAKES
}

for (const pattern of ['XX', 'IK'] as const) {
  const tasks = [ours(pattern), theirs(pattern)] as const
  for (const task of tasks) for (let warm = 0; warm < HANDSHAKES; warm += 1) task()
  const rounds = Array.from({ length: ROUNDS }, () => tasks.map(processorMs) as [number, number])
  const [own, other] = rounds.sort((a, b) => a[0] / a[1] - b[0] / b[1])[ROUNDS >> 1] as [number, number]
  if (own / other > MOST_OF_NOISE_HANDSHAKE) process.exitCode = 1
  console.log(
    `${pattern}, both sides, processor time      ${own.toFixed(3)} ms; noise-handshake ${other.toFixed(3)} ms  ` +
      `ratio ${(own / other).toFixed(2)}  (limit ${MOST_OF_NOISE_HANDSHAKE})`,
  )
}

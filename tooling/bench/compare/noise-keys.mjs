/** Noise handshakes and streams beside those of noise-handshake, secret-stream and libp2p. */
import { HandshakeState, noiseKeyPair, noiseProtocol, openNoiseStream } from '@keyturn/noise-keys/noise'
import { systemRandom } from '@keyturn/primitives'
import { cpuRow, peer } from './measure.mjs'

const OURS = 'noise-keys'
const [hyper, cipher, secret] = await Promise.all(
  ['noise-handshake', 'noise-handshake/cipher.js', '@hyperswarm/secret-stream'].map(peer),
)
const dh = noiseProtocol('Noise_XX_25519_ChaChaPoly_BLAKE2b').dh
const [client, server] = [noiseKeyPair(dh, systemRandom(32)), noiseKeyPair(dh, systemRandom(32))]

function ours(pattern, hash = 'BLAKE2b') {
  const suite = noiseProtocol(`Noise_${pattern}_25519_ChaChaPoly_${hash}`)
  const remoteStatic = pattern === 'IK' ? server.publicKey : undefined
  const initiator = new HandshakeState(suite, { role: 'initiator', staticKey: client, remoteStatic })
  const responder = new HandshakeState(suite, { role: 'responder', staticKey: server })
  responder.readMessage(initiator.writeMessage())
  initiator.readMessage(responder.writeMessage())
  if (pattern === 'XX') responder.readMessage(initiator.writeMessage())
  return [initiator.split(), responder.split()]
}

const pair = ({ publicKey, secretKey }) => ({ publicKey: Buffer.from(publicKey), secretKey: Buffer.from(secretKey) })

function theirs(pattern) {
  const Noise = hyper.default
  const [initiator, responder] = [new Noise(pattern, true, pair(client)), new Noise(pattern, false, pair(server))]
  initiator.initialise(Buffer.alloc(0), pattern === 'IK' ? pair(server).publicKey : undefined)
  responder.initialise(Buffer.alloc(0))
  responder.recv(initiator.send())
  initiator.recv(responder.send())
  if (pattern === 'XX') responder.recv(initiator.send())
  return [initiator, responder]
}

for (const pattern of ['XX', 'IK'])
  await cpuRow(
    `handshake ${pattern}, both sides, BLAKE2b`,
    { [OURS]: () => void ours(pattern), 'noise-handshake': hyper && (() => void theirs(pattern)) },
    { times: 200 },
  )

const message = Buffer.alloc(60_000, 7)
function ciphers() {
  const [left, right] = ours('XX')
  if (hyper === undefined || cipher === undefined)
    return { ours: () => right.receive.decrypt(left.send.encrypt(message)) }
  const [initiator, responder] = theirs('XX')
  const [tx, rx] = [new cipher.default(initiator.tx), new cipher.default(responder.rx)]
  return {
    ours: () => void right.receive.decrypt(left.send.encrypt(message)),
    theirs: () => void rx.decrypt(tx.encrypt(message)),
  }
}
const both = ciphers()
await cpuRow(
  'a message of 60 kB, sealed and opened',
  { [OURS]: both.ours, 'noise-handshake': both.theirs },
  { times: 200 },
)

const PART = 64 * 1024
const PARTS = 256

/** Two ends of a transport in memory. */
function transport() {
  const [there, back] = [new TransformStream(), new TransformStream()]
  return [
    { readable: back.readable, writable: there.writable },
    { readable: there.readable, writable: back.writable },
  ]
}

async function ourStream() {
  const [left, right] = transport()
  const protocol = 'Noise_XX_25519_ChaChaPoly_BLAKE2b'
  const [sender, receiver] = await Promise.all([
    openNoiseStream(left, protocol, { role: 'initiator', staticKey: client }),
    openNoiseStream(right, protocol, { role: 'responder', staticKey: server }),
  ])
  const sending = (async () => {
    const writer = sender.writable.getWriter()
    for (let count = 0; count < PARTS; count += 1) await writer.write(new Uint8Array(PART))
    await writer.close()
  })()
  let received = 0
  for await (const part of receiver.readable) received += part.length
  await sending
  if (received !== PART * PARTS) throw new Error(`${received} bytes arrived`)
}

async function theirStream() {
  const SecretStream = secret.default
  const { Duplex } = await import('streamx')
  // Two ends in memory: what one writes, the other reads.
  const ends = [0, 1].map(() => new Duplex())
  for (const [at, end] of ends.entries()) {
    end._write = (data, done) => {
      ends[1 - at].push(data)
      done(null)
    }
  }
  const [sender, receiver] = [new SecretStream(true, ends[0]), new SecretStream(false, ends[1])]
  sender.on('error', () => undefined)
  receiver.on('error', () => undefined)
  const all = new Promise((resolve) => {
    let received = 0
    receiver.on('data', (part) => {
      received += part.length
      if (received === PART * PARTS) resolve()
    })
  })
  for (let count = 0; count < PARTS; count += 1)
    if (!sender.write(Buffer.alloc(PART))) await new Promise((resolve) => sender.once('drain', resolve))
  await all
  sender.destroy()
  receiver.destroy()
}

await cpuRow(
  'a stream of 16 MiB with its handshake, in memory',
  { [OURS]: ourStream, 'secret-stream': secret && theirStream },
  { rounds: 5 },
)

const libp2p = await peer('@chainsafe/libp2p-noise')
if (libp2p !== undefined) {
  const { generateKeyPair } = await import('@libp2p/crypto/keys')
  const { defaultLogger } = await import('@libp2p/logger')
  const { multiaddrConnectionPair } = await import('@libp2p/utils')
  const { keyturnNoise } = await import('./libp2p-noise.mjs')
  const keys = await Promise.all([generateKeyPair('Ed25519'), generateKeyPair('Ed25519')])
  const meet = (make) => async () => {
    const [outbound, inbound] = multiaddrConnectionPair()
    const encrypters = keys.map((privateKey) =>
      make({ privateKey, logger: defaultLogger(), upgrader: { getStreamMuxers: () => new Map() } }),
    )
    await Promise.all([encrypters[0].secureOutbound(outbound, {}), encrypters[1].secureInbound(inbound, {})])
  }
  await cpuRow(
    'a connection of libp2p (XX, SHA256, both identities signed), both sides',
    { [OURS]: meet(keyturnNoise()), 'libp2p-noise': meet(libp2p.noise()) },
    { times: 20 },
  )
}
process.exit(0)

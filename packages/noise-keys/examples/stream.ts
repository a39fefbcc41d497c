// An encrypted stream over TCP: the client finds the server's published key, both check who the other is, and bytes go
// both ways until one side says it is done.
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { Duplex } from 'node:stream'
import { createTransportIdentity, memoryDirectory } from '@keyturn/noise-keys'
import { noiseKeyPair, noiseProtocol, openNoiseStream } from '@keyturn/noise-keys/noise'
import { deriveX25519Static, Publisher } from '@keyturn/noise-keys/owner'
import { KeyFloors, lookUpKeys, preferredKey } from '@keyturn/noise-keys/reader'

const PROTOCOL = 'Noise_NK_25519_ChaChaPoly_SHA256' // only the server has a key; IK and XX prove both
const directory = memoryDirectory()

// The server publishes a key that is derived from its seed.
const { seed, ...identity } = createTransportIdentity()
const publisher = new Publisher({ identity, directory, withSeed: (use) => use(seed), store: () => undefined })
const { active } = await publisher.announce()
const staticKey = noiseKeyPair(noiseProtocol(PROTOCOL).dh, deriveX25519Static(seed, active.device))

// Without allowHalfOpen, a socket of Node ends both directions when the first of them ends.
const server = createServer({ allowHalfOpen: true }, async (socket) => {
  const signal = AbortSignal.timeout(10_000)
  const { readable, writable } = await openNoiseStream(Duplex.toWeb(socket), PROTOCOL, {
    role: 'responder',
    staticKey,
    signal,
  })
  await readable.pipeThrough(upperCase()).pipeTo(writable)
})
server.listen(0, '127.0.0.1')
await once(server, 'listening')

function upperCase(): TransformStream<Uint8Array, Uint8Array> {
  const [decoder, encoder] = [new TextDecoder(), new TextEncoder()]
  return new TransformStream({
    transform: (chunk, controller) =>
      controller.enqueue(encoder.encode(decoder.decode(chunk, { stream: true }).toUpperCase())),
  })
}

// The client knows the identity alone.
const { publicKey } = preferredKey(
  await lookUpKeys(directory, identity, new KeyFloors(), { nowS: Math.floor(Date.now() / 1000) }),
)
const socket = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', allowHalfOpen: true })
const stream = await openNoiseStream(Duplex.toWeb(socket), PROTOCOL, { role: 'initiator', remoteStatic: publicKey })
const writer = stream.writable.getWriter()
await writer.write(new TextEncoder().encode('which key is this?'))
await writer.close() // the server reads to the end, and may still answer
console.log('asked')
for await (const part of stream.readable) console.log('answered', new TextDecoder().decode(part))
console.log('session', stream.session.ended)
server.close()

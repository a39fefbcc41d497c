import { createTransportIdentity, memoryDirectory } from '@keyturn/noise-keys'
import { HandshakeState, noiseKeyPair, noiseProtocol, NoiseSession } from '@keyturn/noise-keys/noise'
import { Publisher } from '@keyturn/noise-keys/owner'
import { KeyFloors, lookUpKeys, preferredKey } from '@keyturn/noise-keys/reader'
import { systemRandom } from '@keyturn/primitives'
import { bytes, codeOf, expect, text } from './require.mjs'

const PROTOCOLS = ['Noise_NK_25519_ChaChaPoly_SHA256', 'Noise_NK_25519_ChaChaPoly_BLAKE2s']

function sessions(protocol) {
  const staticKey = noiseKeyPair(noiseProtocol(protocol).dh, systemRandom(32))
  const client = new HandshakeState(protocol, { role: 'initiator', remoteStatic: staticKey.publicKey })
  const server = new HandshakeState(protocol, { role: 'responder', staticKey })
  server.readMessage(client.writeMessage())
  client.readMessage(server.writeMessage())
  return [new NoiseSession(client.split()), new NoiseSession(server.split())]
}

export const features = {
  async 'publish, find, revoke'() {
    const directory = memoryDirectory()
    const { seed, ...identity } = createTransportIdentity()
    const store = () => undefined
    const withSeed = (use) => use(seed)
    const publisher = new Publisher({ identity, directory, withSeed, stored: undefined, store })
    await publisher.announce()
    const floors = new KeyFloors()
    const nowS = Math.floor(Date.now() / 1000)
    const first = preferredKey(await lookUpKeys(directory, identity, floors, { nowS }))
    await publisher.revoke('compromise')
    const second = preferredKey(await lookUpKeys(directory, identity, floors, { nowS }))
    expect('another key', first.device !== second.device)
  },
  async 'sessions, small messages'() {
    for (const protocol of PROTOCOLS) {
      const [client, server] = sessions(protocol)
      expect('the message', text(server.receive(client.send(bytes('hello')))) === 'hello')
    }
  },
  async 'sessions, large messages'() {
    const [client, server] = sessions(PROTOCOLS[0])
    const large = systemRandom(60_000)
    expect(
      'the message',
      server.receive(client.send(large)).every((byte, index) => byte === large[index]),
    )
    const changed = client.send(large)
    changed[0] ^= 1
    expect('a changed message', (await codeOf(() => server.receive(changed))) === 'NK_DECRYPT')
  },
}

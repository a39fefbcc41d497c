// A server's transport key: derived from a cold seed, published, found by a peer, turned, and revoked.
import { systemRandom } from '@keyturn/primitives'
import { createTransportIdentity, memoryDirectory } from '@keyturn/noise-keys'
import {
  addKey,
  afterPublication,
  cutOver,
  deriveX25519Static,
  draftPublication,
  emptyMetadata,
  nextDeviceId,
  publish,
  revoke,
  signPublication,
  transportPublicKey,
} from '@keyturn/noise-keys/owner'
import { KeyFloors, lookUpKeys, preferredKey } from '@keyturn/noise-keys/reader'
import type { TransportMetadata } from '@keyturn/noise-keys/owner'
import { askOnce, noiseKeyPair, noiseProtocol, receiveOnce } from '@keyturn/noise-keys/noise'

const identity = createTransportIdentity(systemRandom)
const directory = memoryDirectory()
const floors = new KeyFloors()
let nowS = Math.floor(Date.now() / 1000)
let metadata: TransportMetadata = emptyMetadata(identity.name)

const newKey = (device: string) => ({
  device,
  publicKey: transportPublicKey(deriveX25519Static(identity.seed, device)),
  generation: 'G2' as const,
})

async function send(order: 'turn' | 'revocation' = 'turn'): Promise<void> {
  const signed = signPublication(
    identity.seed,
    draftPublication(metadata, nowS, (await directory.read(identity)).packet),
  )
  metadata = afterPublication(metadata, signed)
  await publish(directory, signed, order)
}

async function look(): Promise<string> {
  const verdicts = await lookUpKeys(directory, identity, floors, { nowS })
  return verdicts.map(({ device, verdict }) => `${device} ${verdict}`).join(', ')
}

metadata = addKey(metadata, newKey('server'), nowS)
await send()
console.log('published:', await look())

metadata = addKey(metadata, newKey(nextDeviceId(metadata, 'server')), nowS)
await send()
nowS += metadata.policy.prePublishS
metadata = cutOver(metadata, nowS)
await send()
console.log('turned:   ', await look())

metadata = revoke(metadata, 'server', 'compromise', nowS)
await send('revocation')
console.log('revoked:  ', await look())

// One question, one answer, under the key the peer found.
const protocol = 'Noise_NK_25519_ChaChaPoly_SHA256'
const { publicKey } = preferredKey(await lookUpKeys(directory, identity, floors, { nowS }))
const serverKey = noiseKeyPair(noiseProtocol(protocol).dh, deriveX25519Static(identity.seed, 'server-v2'))
const asked = askOnce(protocol, { remoteStatic: publicKey }, new TextEncoder().encode('which key?'))
const question = receiveOnce(protocol, { staticKey: serverKey }, asked.message)
console.log('asked:    ', new TextDecoder().decode(question.payload))
console.log(
  'answered: ',
  new TextDecoder().decode(asked.readAnswer(question.answer(new TextEncoder().encode('this one')))),
)

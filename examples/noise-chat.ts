// A chat between two devices over plain TCP. Each device finds the other's key by its identity, the handshake (Noise
// IK) proves both keys, and a lost device is cut off in the middle of a conversation.
//
//   node examples/noise-chat.ts
import { once } from 'node:events'
import { createServer, connect } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { concatBytes, equalBytes, systemRandom, utf8Decode, utf8Encode } from '@keyturn/primitives'
import { createTransportIdentity, memoryDirectory, transportIdentity } from '@keyturn/noise-keys'
import {
  addKey,
  afterPublication,
  deriveX25519Static,
  draftPublication,
  emptyMetadata,
  publish,
  revoke,
  signPublication,
  transportPublicKey,
} from '@keyturn/noise-keys/owner'
import { assertKeyUsable, KeyFloors, lookUpKeys, preferredKey } from '@keyturn/noise-keys/reader'
import type { TransportIdentity } from '@keyturn/noise-keys'
import { HandshakeState, noiseKeyPair, noiseProtocol, NoiseSession, SessionRegistry } from '@keyturn/noise-keys/noise'

const PROTOCOL = 'Noise_IK_25519_ChaChaPoly_SHA256'
/** Both sides mix it in, so a handshake of another program fails. */
const prologue = utf8Encode('example-chat/1')
/** In real life, this is a homeserver, a relay or the DHT; see `@keyturn/noise-keys/node`, `/pkarr` and `/dht`. */
const directory = memoryDirectory()
const nowS = (): number => Math.floor(Date.now() / 1000)

/** A person has an identity seed, kept offline, and a device whose transport key is derived from it. */
class Person {
  readonly identity = createTransportIdentity(systemRandom)
  readonly #device: string
  #metadata = emptyMetadata(this.identity.name)

  constructor(device: string) {
    this.#device = device
  }

  /** The key of the device. The device gets it once; the seed stays offline. */
  staticKey(): ReturnType<typeof noiseKeyPair> {
    return noiseKeyPair(noiseProtocol(PROTOCOL).dh, deriveX25519Static(this.identity.seed, this.#device))
  }

  async announce(): Promise<void> {
    const publicKey = transportPublicKey(deriveX25519Static(this.identity.seed, this.#device))
    this.#metadata = addKey(this.#metadata, { device: this.#device, publicKey, generation: 'G2' }, nowS())
    await this.#publish('turn')
  }

  async reportLost(): Promise<void> {
    this.#metadata = revoke(this.#metadata, this.#device, 'lost', nowS())
    await this.#publish('revocation')
  }

  async #publish(order: 'turn' | 'revocation'): Promise<void> {
    const { packet } = await directory.read(this.identity)
    const signed = signPublication(this.identity.seed, draftPublication(this.#metadata, nowS(), packet))
    this.#metadata = afterPublication(this.#metadata, signed)
    await publish(directory, signed, order)
  }
}

/** Sends messages over a stream: two bytes of length, then a Noise message. */
class Wire {
  readonly #socket: Socket
  readonly #chunks: AsyncIterator<Uint8Array>
  #rest: Uint8Array = new Uint8Array(0)

  constructor(socket: Socket) {
    this.#socket = socket
    this.#chunks = socket[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>
  }

  write(message: Uint8Array): void {
    this.#socket.write(concatBytes(Uint8Array.of(message.length >> 8, message.length & 0xff), message))
  }

  async read(): Promise<Uint8Array> {
    const [high = 0, low = 0] = await this.#take(2)
    return await this.#take(high * 256 + low)
  }

  close(): void {
    this.#socket.destroy()
  }

  async #take(length: number): Promise<Uint8Array> {
    while (this.#rest.length < length) {
      const { value, done } = await this.#chunks.next()
      if (done === true) throw new Error('The other side hung up')
      this.#rest = concatBytes(this.#rest, value)
    }
    const taken = this.#rest.slice(0, length)
    this.#rest = this.#rest.slice(length)
    return taken
  }
}

/** Calls someone whose identity is all we know. */
async function call(
  port: number,
  staticKey: ReturnType<typeof noiseKeyPair>,
  callee: TransportIdentity,
  floors: KeyFloors,
): Promise<{ wire: Wire; session: NoiseSession }> {
  const { publicKey } = preferredKey(await lookUpKeys(directory, callee, floors, { nowS: nowS() }))
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'connect')
  const wire = new Wire(socket)
  const handshake = new HandshakeState(PROTOCOL, { role: 'initiator', staticKey, remoteStatic: publicKey, prologue })
  wire.write(handshake.writeMessage())
  handshake.readMessage(await wire.read())
  return { wire, session: new NoiseSession(handshake.split()) }
}

/** Takes a call. Refuses a caller who is not the expected friend, or whose key was revoked, before any message. */
async function answer(
  socket: Socket,
  staticKey: ReturnType<typeof noiseKeyPair>,
  friend: TransportIdentity,
  floors: KeyFloors,
): Promise<{ wire: Wire; session: NoiseSession }> {
  const wire = new Wire(socket)
  try {
    const handshake = new HandshakeState(PROTOCOL, { role: 'responder', staticKey, prologue })
    handshake.readMessage(await wire.read())
    const caller = handshake.remoteStatic
    if (caller === undefined) throw new Error('IK always reveals the key of the caller')
    assertKeyUsable(await lookUpKeys(directory, friend, floors, { nowS: nowS() }), caller)
    wire.write(handshake.writeMessage())
    return { wire, session: new NoiseSession(handshake.split()) }
  } catch (error) {
    wire.close()
    throw error
  }
}

const [ann, ben] = [new Person('laptop'), new Person('phone')]
await ann.announce()
await ben.announce()
// Friends exchange the names of their identities, once.
const [annName, benName] = [transportIdentity(ann.identity.publicKey), transportIdentity(ben.identity.publicKey)]
const sessions = new SessionRegistry()
const floorsOfBen = new KeyFloors() // what Ben's device remembers; real programs write it to disk: `format()`, `KeyFloors.parse()`

const server = createServer({ pauseOnConnect: false })
await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
const { port } = server.address() as AddressInfo
const accept = async () => {
  const [socket] = (await once(server, 'connection')) as [Socket]
  return await answer(socket, ben.staticKey(), annName, floorsOfBen)
}

try {
  const [called, taken] = await Promise.all([call(port, ann.staticKey(), benName, new KeyFloors()), accept()])
  sessions.add(taken.session)
  if (!equalBytes(called.session.id, taken.session.id)) throw new Error('Both sides must end in the same handshake')
  for (const line of ['Hello Ben', 'I think I left my laptop on the train']) {
    called.wire.write(called.session.send(utf8Encode(line)))
    console.log(`Ann: ${utf8Decode(taken.session.receive(await taken.wire.read()))}`)
  }
  taken.wire.write(taken.session.send(utf8Encode('Report it, now')))
  console.log(`Ben: ${utf8Decode(called.session.receive(await called.wire.read()))}`)

  await ann.reportLost()
  const ended = sessions.enforce(await lookUpKeys(directory, annName, floorsOfBen, { nowS: nowS() }))
  console.log(`${ended} session ended: ${String(taken.session.ended)}`)

  // Someone who has the laptop now tries to call.
  const finder = call(port, ann.staticKey(), benName, new KeyFloors()).then(
    () => 'connected',
    (error: Error) => error.message,
  )
  const refused = await accept().then(
    () => 'taken',
    (error: { code?: string }) => error.code,
  )
  console.log(`the finder calls: ${String(refused)}; they see "${await finder}"`)
  if (refused !== 'NK_REVOKED' || ended !== 1) throw new Error('A revoked key was accepted')
  called.wire.close()
  taken.wire.close()
} finally {
  server.close()
}

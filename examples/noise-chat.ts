// A chat between two people over plain TCP. Each finds the other's key by its identity, the handshake (Noise IK) proves
// both keys, and a lost device is cut off in the middle of a conversation.
//
//   node examples/noise-chat.ts
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { createTransportIdentity, memoryDirectory } from '@keyturn/noise-keys'
import type { TransportIdentity } from '@keyturn/noise-keys'
import { noiseKeyPair, noiseProtocol, openNoiseStream, SessionRegistry } from '@keyturn/noise-keys/noise'
import type { NoiseKeyPair, NoiseSession, NoiseStream, NoiseStreamOptions } from '@keyturn/noise-keys/noise'
import { Publisher } from '@keyturn/noise-keys/owner'
import { assertKeyUsable, KeyFloors, lookUpKeys, preferredKey } from '@keyturn/noise-keys/reader'

const PROTOCOL = 'Noise_IK_25519_ChaChaPoly_SHA256'
/** Both sides mix it in, so a handshake of another program fails. */
const prologue = new TextEncoder().encode('example-chat/1')
/** In real life, this is a home server, a relay or the DHT; see `@keyturn/noise-keys/node`, `/pkarr` and `/dht`. */
const directory = memoryDirectory()
const nowS = (): number => Math.floor(Date.now() / 1000)
const lookUp = (identity: TransportIdentity, floors: KeyFloors) =>
  lookUpKeys(directory, identity, floors, { nowS: nowS() })

/** Someone with an identity, whose seed is kept offline, and a device that has one key of it. */
async function person() {
  const { seed, ...identity } = createTransportIdentity()
  const publisher = new Publisher({ identity, directory, withSeed: (use) => use(seed), store: () => undefined })
  await publisher.announce()
  // What this person remembers of others; real programs write it to disk: `format()`, `KeyFloors.parse()`.
  const floors = new KeyFloors()
  // The device gets this key once; the seed never leaves its place.
  const staticKey = await publisher.withSecret((secret) => noiseKeyPair(noiseProtocol(PROTOCOL).dh, secret.slice()))
  return { identity, publisher, floors, staticKey }
}

/** Lines of text, both ways, over an encrypted stream. */
class Chat {
  readonly session: NoiseSession
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>
  readonly #parts: AsyncIterator<Uint8Array>
  readonly #decoder = new TextDecoder()
  #rest = ''

  constructor({ readable, writable, session }: NoiseStream) {
    this.session = session
    this.#writer = writable.getWriter()
    this.#parts = readable[Symbol.asyncIterator]()
  }

  async say(line: string): Promise<void> {
    await this.#writer.write(new TextEncoder().encode(`${line}\n`))
  }

  async hear(): Promise<string> {
    while (!this.#rest.includes('\n')) {
      const { value, done } = await this.#parts.next()
      if (done === true) throw new Error('The other side hung up')
      this.#rest += this.#decoder.decode(value, { stream: true })
    }
    const [line = '', ...rest] = this.#rest.split('\n')
    this.#rest = rest.join('\n')
    return line
  }
}

async function open(socket: Socket, options: NoiseStreamOptions): Promise<Chat> {
  return new Chat(
    await openNoiseStream(Duplex.toWeb(socket), PROTOCOL, {
      ...options,
      prologue,
      signal: AbortSignal.timeout(10_000),
    }),
  )
}

/** Calls someone whose identity is all we know. */
async function call(
  port: number,
  staticKey: NoiseKeyPair,
  callee: TransportIdentity,
  floors: KeyFloors,
): Promise<Chat> {
  const { publicKey } = preferredKey(await lookUp(callee, floors))
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  return await open(socket, { role: 'initiator', staticKey, remoteStatic: publicKey })
}

const [ann, ben] = [await person(), await person()]
const sessions = new SessionRegistry()
const server = createServer({ allowHalfOpen: true })
server.listen(0, '127.0.0.1')
await once(server, 'listening')
const { port } = server.address() as AddressInfo

/** Takes a call. A caller who is not the friend, or whose key was revoked, is refused before any message. */
async function answer(friend: TransportIdentity): Promise<Chat> {
  const [socket] = (await once(server, 'connection')) as [Socket]
  return await open(socket, {
    role: 'responder',
    staticKey: ben.staticKey,
    verifyRemote: async (publicKey) => assertKeyUsable(await lookUp(friend, ben.floors), publicKey),
  })
}

const [atAnn, atBen] = await Promise.all([call(port, ann.staticKey, ben.identity, ann.floors), answer(ann.identity)])
sessions.add(atBen.session)
for (const line of ['Hello Ben', 'I think I left my laptop on the train']) {
  await atAnn.say(line)
  console.log('Ann:', await atBen.hear())
}
await atBen.say('Report it, now')
console.log('Ben:', await atAnn.hear())

await ann.publisher.revoke('lost')
const ended = sessions.enforce(await lookUp(ann.identity, ben.floors))
console.log(`${ended} session ended: ${String(atBen.session.ended)}`)

// Someone who has the laptop now tries to call.
const outcome = (chat: Promise<Chat>): Promise<string> =>
  chat.then(
    () => 'connected',
    (error: { code?: string; message: string }) => error.code ?? error.message,
  )
const [finder, refused] = await Promise.all([
  outcome(call(port, ann.staticKey, ben.identity, new KeyFloors())),
  outcome(answer(ann.identity)),
])
console.log(`the finder calls: ${refused}; they see ${finder}`)
server.close()
if (refused !== 'NK_REVOKED' || ended !== 1) throw new Error('A revoked key was accepted')

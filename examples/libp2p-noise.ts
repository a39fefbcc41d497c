// Noise of this package as the encryption of libp2p connections: what `connectionEncrypters` of a libp2p node takes,
// and what other libp2p nodes understand. https://github.com/libp2p/specs/blob/master/noise
//
//   node examples/libp2p-noise.ts
import { generateKeyPair, publicKeyFromProtobuf, publicKeyToProtobuf } from '@libp2p/crypto/keys'
import type { ConnectionEncrypter, MessageStream, PrivateKey, PublicKey, SecuredConnection } from '@libp2p/interface'
import { peerIdFromPublicKey } from '@libp2p/peer-id'
import { AbstractMessageStream, LengthPrefixedDecoder, lpStream, multiaddrConnectionPair } from '@libp2p/utils'
import type { SendResult } from '@libp2p/utils'
import { concatBytes, systemRandom, utf8Decode, utf8Encode } from '@keyturn/primitives'
import {
  frameMessage,
  HandshakeState,
  MAX_PLAINTEXT_BYTES,
  noiseKeyPair,
  noiseProtocol,
} from '@keyturn/noise-keys/noise'
import type { HandshakeResult, NoiseKeyPair, NoiseRole } from '@keyturn/noise-keys/noise'

const PROTOCOL = 'Noise_XX_25519_ChaChaPoly_SHA256'
const SIGNED_PREFIX = utf8Encode('noise-libp2p-static-key:')
const MAX_FRAME_BYTES = 65_535
/** Fields of the payload, as protobuf has them: number times 8, plus 2 for bytes. */
const IDENTITY_KEY = 0x0a
const IDENTITY_SIGNATURE = 0x12
const NO_BYTES = new Uint8Array(0)

type Bytes = Parameters<MessageStream['send']>[0]

/** Two bytes before each message. A RangeError says that not both are here yet. */
const framing = {
  lengthEncoder: Object.assign((length: number) => Uint8Array.of(length >> 8, length & 0xff), { bytes: 2 }),
  lengthDecoder: Object.assign(
    (bytes: Bytes): number => {
      if (bytes.byteLength < 2) throw new RangeError('The length of the message is not here yet')
      const [high = 0, low = 0] = bytes.subarray(0, 2)
      return (high << 8) | low
    },
    { bytes: 2 },
  ),
}

function varint(value: number): Uint8Array {
  return value < 0x80 ? Uint8Array.of(value) : concatBytes(Uint8Array.of((value & 0x7f) | 0x80), varint(value >>> 7))
}

const field = (tag: number, bytes: Uint8Array): Uint8Array =>
  concatBytes(Uint8Array.of(tag), varint(bytes.length), bytes)

/** Fields of bytes in a protobuf message; later ones win, unknown ones are kept by their tag. */
function fieldsOf(message: Uint8Array): Map<number, Uint8Array> {
  const fields = new Map<number, Uint8Array>()
  let at = 0
  const next = (): number => {
    let value = 0
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = message[at++]
      if (byte === undefined) break
      value |= (byte & 0x7f) << shift
      if (byte < 0x80) return value
    }
    throw new Error('The payload of the handshake is damaged')
  }
  while (at < message.length) {
    const tag = next()
    const length = next()
    if ((tag & 7) !== 2 || at + length > message.length) throw new Error('The payload of the handshake is damaged')
    fields.set(tag, message.subarray(at, (at += length)))
  }
  return fields
}

/** Says under the identity of the node that the static key is its own. */
async function writePayload(identity: PrivateKey, staticKey: Uint8Array): Promise<Uint8Array> {
  const signature = await identity.sign(concatBytes(SIGNED_PREFIX, staticKey))
  return concatBytes(field(IDENTITY_KEY, publicKeyToProtobuf(identity.publicKey)), field(IDENTITY_SIGNATURE, signature))
}

async function verifyPayload(payload: Uint8Array, handshake: HandshakeState, expected?: PublicKey): Promise<PublicKey> {
  const fields = fieldsOf(payload)
  const publicKey = publicKeyFromProtobuf(fields.get(IDENTITY_KEY) ?? NO_BYTES)
  const signed = concatBytes(SIGNED_PREFIX, handshake.remoteStatic ?? NO_BYTES)
  if (!(await publicKey.verify(signed, fields.get(IDENTITY_SIGNATURE) ?? NO_BYTES)))
    throw new Error('The static key of the peer is not signed by its identity')
  if (expected?.equals(publicKey) === false) throw new Error('Another peer answered')
  return publicKey
}

/** A connection whose messages are encrypted; everything else is the connection's own. */
class EncryptedStream extends AbstractMessageStream {
  readonly #inner: MessageStream
  readonly #keys: HandshakeResult
  readonly #decoder = new LengthPrefixedDecoder({
    lengthDecoder: framing.lengthDecoder,
    maxDataLength: MAX_FRAME_BYTES,
    encodingLength: () => 2,
  })

  constructor(inner: MessageStream, keys: HandshakeResult) {
    const { log, inactivityTimeout, maxReadBufferLength, direction } = inner
    super({ log, inactivityTimeout, maxReadBufferLength, direction })
    this.#inner = inner
    this.#keys = keys
    inner.addEventListener('message', ({ data }) => {
      try {
        for (const message of this.#decoder.decode(data)) this.onData(keys.receive.decrypt(message.subarray()))
      } catch (error) {
        this.abort(error as Error)
      }
    })
    inner.addEventListener('close', ({ error }) => {
      keys.send.dispose()
      keys.receive.dispose()
      if (error === undefined || error === null) this.onTransportClosed()
      else this.abort(error)
    })
    inner.addEventListener('drain', () => this.safeDispatchEvent('drain'))
    inner.addEventListener('remoteCloseWrite', () => this.onRemoteCloseWrite())
  }

  sendData(data: Bytes): SendResult {
    const bytes = data.subarray()
    let canSendMore = true
    for (let at = 0; at < bytes.length; at += MAX_PLAINTEXT_BYTES) {
      const message = this.#keys.send.encrypt(bytes.subarray(at, at + MAX_PLAINTEXT_BYTES))
      canSendMore = this.#inner.send(frameMessage(message))
    }
    return { sentBytes: bytes.length, canSendMore }
  }

  override close: MessageStream['close'] = (options) => this.#inner.close(options)
  sendReset = (error: Error): void => this.#inner.abort(error)
  sendPause = (): void => this.#inner.pause()
  sendResume = (): void => this.#inner.resume()
}

/**
 * Makes what a libp2p node takes: `createLibp2p({ connectionEncrypters: [keyturnNoise()] })`.
 *
 * @param staticKey - Default: a fresh one. A derived and published one (`/owner`) lets peers look it up and revoke it.
 */
export function keyturnNoise(
  staticKey: NoiseKeyPair = noiseKeyPair(noiseProtocol(PROTOCOL).dh, systemRandom(32)),
): (components: { readonly privateKey: PrivateKey }) => ConnectionEncrypter {
  return ({ privateKey }) => {
    async function secure(
      role: NoiseRole,
      connection: MessageStream,
      options: Parameters<ConnectionEncrypter['secureInbound']>[1] = {},
    ): Promise<SecuredConnection> {
      const wire = lpStream(connection, { ...framing, maxDataLength: MAX_FRAME_BYTES })
      const handshake = new HandshakeState(PROTOCOL, { role, staticKey })
      const own = await writePayload(privateKey, staticKey.publicKey)
      let peer: PublicKey | undefined
      // XX has three messages, and the first carries nothing: who is who is said under encryption only.
      for (let step = 0; step < 3; step++) {
        if (handshake.isMyTurn) {
          await wire.write(handshake.writeMessage(step === 0 ? NO_BYTES : own), options)
          continue
        }
        const payload = handshake.readMessage((await wire.read(options)).subarray())
        if (step > 0) peer = await verifyPayload(payload, handshake, options.remotePeer?.publicKey)
      }
      if (peer === undefined) throw new Error('The peer did not say who it is')
      const encrypted = new EncryptedStream(wire.unwrap(), handshake.split())
      return { connection: encrypted, remotePeer: peerIdFromPublicKey(peer) }
    }
    return {
      protocol: '/noise',
      secureInbound: (connection, options) => secure('responder', connection, options),
      secureOutbound: (connection, options) => secure('initiator', connection, options),
    }
  }
}

if (import.meta.main) {
  const [privateKey, other] = [await generateKeyPair('Ed25519'), await generateKeyPair('Ed25519')]
  const [outbound, inbound] = multiaddrConnectionPair()
  const [left, right] = await Promise.all([
    keyturnNoise()({ privateKey }).secureOutbound(outbound),
    keyturnNoise()({ privateKey: other }).secureInbound(inbound),
  ])
  console.log('met', left.remotePeer.equals(peerIdFromPublicKey(other.publicKey)))
  const heard = new Promise<string>((resolve) => {
    right.connection.addEventListener('message', ({ data }) => resolve(utf8Decode(data.subarray())), { once: true })
  })
  left.connection.send(utf8Encode('Hello over libp2p'))
  console.log('heard', await heard)
  await left.connection.close()
}

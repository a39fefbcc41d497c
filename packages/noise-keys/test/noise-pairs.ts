import { sha256, utf8Encode } from '@keyturn/primitives'
import type { RandomSource } from '@keyturn/primitives'
import { HandshakeState, noiseKeyPair, noiseProtocol } from '../src/noise/index.ts'
import type { HandshakeResult, NoiseKeyPair } from '../src/noise/index.ts'

/** A repeatable source: each draw differs. */
export function seededRandom(label: string): RandomSource {
  let draw = 0
  return (length) => {
    const bytes = new Uint8Array(length)
    for (let done = 0; done < length; done += 32)
      bytes.set(sha256(utf8Encode(`${label} ${(draw += 1)}`)).subarray(0, length - done), done)
    return bytes
  }
}

/** A static key pair by name. */
export function keyPair(label: string): NoiseKeyPair {
  return noiseKeyPair(noiseProtocol('Noise_NN_25519_ChaChaPoly_SHA256').dh, sha256(utf8Encode(label)))
}

export const clientKey = keyPair('client')
export const serverKey = keyPair('server')

/** Both sides of a protocol, keys as its pattern wants them. */
export function sides(
  protocol: string,
  change: { prologue?: Uint8Array; responderProtocol?: string } = {},
): [HandshakeState, HandshakeState] {
  const { pattern } = noiseProtocol(protocol)
  const client = {
    role: 'initiator' as const,
    staticKey: clientKey,
    random: seededRandom('client'),
    ...(pattern.responderStaticKnown ? { remoteStatic: serverKey.publicKey } : {}),
  }
  const server = {
    role: 'responder' as const,
    staticKey: serverKey,
    random: seededRandom('server'),
    ...(pattern.initiatorStaticKnown ? { remoteStatic: clientKey.publicKey } : {}),
    ...(change.prologue === undefined ? {} : { prologue: change.prologue }),
  }
  return [new HandshakeState(protocol, client), new HandshakeState(change.responderProtocol ?? protocol, server)]
}

/** Runs a handshake with empty payloads. */
export function shake([client, server]: [HandshakeState, HandshakeState]): [HandshakeResult, HandshakeResult] {
  while (!client.isComplete) {
    const [from, to] = client.isMyTurn ? [client, server] : [server, client]
    to.readMessage(from.writeMessage())
  }
  return [client.split(), server.split()]
}

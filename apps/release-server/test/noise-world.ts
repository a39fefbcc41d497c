import { createTransportIdentity } from '@keyturn/noise-keys'
import {
  addKey,
  afterPublication,
  draftPublication,
  emptyMetadata,
  publish,
  signPublication,
  deriveX25519Static,
} from '@keyturn/noise-keys/owner'
import type { TransportMetadata } from '@keyturn/noise-keys/owner'
import { askOnce, noiseKeyPair, noiseProtocol } from '@keyturn/noise-keys/noise'
import {
  EXCHANGE_PROTOCOLS,
  exchangePrologue,
  openKeyAnswer,
  RuntimeKey,
  serverKeyHint,
  writeExchangeHeader,
  writeKeyRequest,
} from '@keyturn/runtime-key'
import type { ExchangePattern } from '@keyturn/runtime-key'
import {
  concatBytes,
  ed25519PublicKey,
  hexDecode,
  hexEncode,
  systemRandom,
  utf8Encode,
  x25519PublicKey,
} from '@keyturn/primitives'
import { expect } from 'vitest'
import { seedOf, TestPublisher } from './publisher.ts'
import type { MadeRelease } from './publisher.ts'
import type { ReleaseServerOptions } from '../src/server.ts'
import { someBytes, startServer } from './support.ts'

/** The content key of the scene: what must be found nowhere. */
export const marker = someBytes(32)
const { dh } = noiseProtocol(EXCHANGE_PROTOCOLS.NK)

/** A server with a vault, a release under key_id 4, and a transport identity that the role document names. */
export async function world(access: 'open' | 'devices' = 'open', options: Partial<ReleaseServerOptions> = {}) {
  let now = Date.now()
  const lines: string[] = []
  const log = {
    info: (fields: object, message: string) => lines.push(JSON.stringify([fields, message])),
    warn: (fields: object, message: string) => lines.push(JSON.stringify([fields, message])),
    error: (fields: object, message: string) => lines.push(JSON.stringify([fields, message])),
  }
  const running = await startServer({
    vault: { passphrase: 'correct horse', scryptLogN: 4 },
    clock: () => now,
    log: log as never,
    ...options,
  })
  const client = await running.client(['admin'], {})
  const identity = createTransportIdentity(systemRandom)
  const publisher = await TestPublisher.create({ now, transport: [identity.name] })
  await client.createProduct({ slug: 'metin2', pin: publisher.pin, runtime_key_access: access })
  await client.putRoles('metin2', 1, publisher.rolesBytes[0] as Uint8Array)
  await client.putLog('metin2', publisher.log)
  const runtimeKey = RuntimeKey.take({
    keyId: 4,
    masterKey: marker.slice(),
    signPublicKey: ed25519PublicKey(seedOf('verifier')),
  })
  const contentKeys = [
    {
      keyId: 4,
      verifierPub: hexEncode(ed25519PublicKey(seedOf('verifier'))),
      commitment: 'bb'.repeat(32),
      status: 'active' as const,
    },
    {
      keyId: 3,
      verifierPub: hexEncode(ed25519PublicKey(seedOf('verifier 3'))),
      commitment: 'cc'.repeat(32),
      status: 'revoked' as const,
    },
  ]
  const release = await publisher.release({ 'a.txt': utf8Encode('a') }, { contentKeys })
  await publisher.publish(client, release)
  const keys = { metadata: emptyMetadata(identity.name) as TransportMetadata }
  const announce = async (order: 'turn' | 'revocation' = 'turn') => {
    const signed = signPublication(identity.seed, draftPublication(keys.metadata, Math.floor(now / 1000)))
    await publish((await running.client(['admin'])).keyDirectory(), signed, order)
    keys.metadata = afterPublication(keys.metadata, signed)
  }
  const addDevice = async (device: string) => {
    const secret = deriveX25519Static(identity.seed, device)
    const publicKey = x25519PublicKey(secret)
    keys.metadata = addKey(
      keys.metadata,
      { device, publicKey, generation: 'G2' },
      Math.floor(now / 1000),
      Math.floor(now / 1000),
    )
    await (await running.client(['admin'])).putTransportKey(identity.name, device, secret)
    return publicKey
  }
  const request = (
    publicKey: Uint8Array,
    wanted: { keyId?: number; release?: MadeRelease; sha256?: string } = {},
    pattern: ExchangePattern = 'NK',
    device?: Uint8Array,
  ) => {
    const header = writeExchangeHeader({ pattern, serverKeyHint: serverKeyHint(publicKey) })
    const question = askOnce(
      EXCHANGE_PROTOCOLS[pattern],
      {
        prologue: exchangePrologue(header),
        remoteStatic: publicKey,
        ...(device === undefined ? {} : { staticKey: noiseKeyPair(dh, device) }),
      },
      writeKeyRequest({
        keyId: wanted.keyId ?? 4,
        manifestSha256: hexDecode(wanted.sha256 ?? (wanted.release ?? release).pin.sha256),
      }),
    )
    return { question, body: concatBytes(header, question.message) }
  }
  const send = (body: Uint8Array) =>
    fetch(`${running.url}/noise/runtime-key`, {
      method: 'POST',
      headers: { 'content-type': 'application/octet-stream' },
      body: body as Uint8Array<ArrayBuffer>,
    })
  const exchange = async (...of: Parameters<typeof request>) => {
    const { question, body } = request(...of)
    const answer = await send(body)
    if (answer.status !== 200) return answer.json() as Promise<{ code: string; status: number }>
    const bytes = new Uint8Array(await answer.arrayBuffer())
    expect(bytes.length).toBe(140)
    return question.readAnswer(bytes)
  }
  return {
    running,
    client,
    identity,
    publisher,
    release,
    runtimeKey,
    keys,
    announce,
    addDevice,
    request,
    send,
    exchange,
    contentKeys,
    lines,
    later: (ms: number) => {
      now += ms
    },
  }
}

/** What an answer says, by its code. */
export const codeOf = (payload: unknown, keyId = 4): string => {
  try {
    openKeyAnswer(payload as Uint8Array, keyId).dispose()
    return 'given'
  } catch (error) {
    return (error as { code: string }).code
  }
}

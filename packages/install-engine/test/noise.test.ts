import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { createTransportIdentity, memoryDirectory } from '@keyturn/noise-keys'
import {
  addKey,
  afterPublication,
  deriveX25519Static,
  draftPublication,
  emptyMetadata,
  publish,
  revoke,
  signPublication,
} from '@keyturn/noise-keys/owner'
import { noiseKeyPair, noiseProtocol, receiveOnce } from '@keyturn/noise-keys/noise'
import { nodeFileSystem } from '@keyturn/primitives/node'
import { hexEncode, systemRandom, utf8Encode, sha256, x25519PublicKey, ed25519PublicKey } from '@keyturn/primitives'
import {
  EXCHANGE_PROTOCOLS,
  exchangePrologue,
  parseExchangeRequest,
  parseKeyRequest,
  RuntimeKey,
  serverKeyHint,
  writeKeyAnswer,
} from '@keyturn/runtime-key'
import { describe, expect, it } from 'vitest'
import { NoiseRuntimeKeys } from '../src/start/noise-runtime-keys.ts'
import { SealedKeyCache } from '../src/start/sealed-key-cache.ts'
import { offline, temporaryFolder } from './support/install.ts'
import { contentKey, NOW, Publisher, seedOf } from './support/publisher.ts'

const { dh } = noiseProtocol(EXCHANGE_PROTOCOLS.NK)

async function world() {
  const folder = await temporaryFolder()
  const identity = createTransportIdentity(systemRandom)
  const publisher = await Publisher.create()
  const key = contentKey(4)
  const made = await publisher.release(
    { 'pack/a.m2p': { bytes: utf8Encode('archive'), keyId: 4 } },
    { format: 'm2pack', place: { contentKeys: [key.entry] } },
  )
  const directory = memoryDirectory()
  const nowS = Math.floor(NOW / 1000)
  let metadata = emptyMetadata(identity.name)
  const secrets = new Map<string, Uint8Array>()
  const announce = async (order: 'turn' | 'revocation' = 'turn') => {
    const signed = signPublication(identity.seed, draftPublication(metadata, nowS))
    await publish(directory, signed, order)
    metadata = afterPublication(metadata, signed)
  }
  const addDevice = async (device: string) => {
    const secret = deriveX25519Static(identity.seed, device)
    const publicKey = x25519PublicKey(secret)
    metadata = addKey(metadata, { device, publicKey, generation: 'G2' }, nowS, nowS)
    secrets.set(hexEncode(serverKeyHint(publicKey)), secret)
    await announce()
    return publicKey
  }
  const server = {
    refusal: undefined as undefined | 'RK_REFUSED' | 'RK_UNAVAILABLE' | 'RK_KEY_ID_UNKNOWN',
    asked: 0,
    wrongKey: false,
  }
  const fetch = async (_url: string, init: RequestInit): Promise<Response> => {
    server.asked += 1
    const { header, message, serverKeyHint: hint } = parseExchangeRequest(new Uint8Array(init.body as Uint8Array))
    const secret = secrets.get(hexEncode(hint))
    if (secret === undefined) return new Response('{}', { status: 410 })
    const question = receiveOnce(
      EXCHANGE_PROTOCOLS.NK,
      { staticKey: noiseKeyPair(dh, secret.slice()), prologue: exchangePrologue(header) },
      message,
    )
    const wanted = parseKeyRequest(question.payload)
    const name = server.wrongKey ? 'content 9' : `content ${wanted.keyId}`
    const runtimeKey = RuntimeKey.take({
      keyId: wanted.keyId,
      masterKey: Uint8Array.from(sha256(utf8Encode(name))),
      signPublicKey: ed25519PublicKey(seedOf(`archive ${wanted.keyId}`)),
    })
    const payload = writeKeyAnswer(server.refusal === undefined ? { runtimeKey } : { refusal: server.refusal })
    return new Response(question.answer(payload) as Uint8Array<ArrayBuffer>)
  }
  const cacheFile = join(folder, 'cache.sealed')
  const cache = new SealedKeyCache(nodeFileSystem, cacheFile, join(folder, 'home', 'seal.key'))
  const provider = (over: typeof offline = fetch) =>
    new NoiseRuntimeKeys({
      fs: nodeFileSystem,
      fetch: over,
      clock: () => NOW,
      server: 'http://releases.test/',
      transport: [identity.name],
      floorsFile: join(folder, 'floors.json'),
      cache,
      directory,
    })
  const obtain = async (over?: typeof offline) => {
    const found = await provider(over).obtain(made.model, made.pin.sha256, undefined)
    const hex = found.withBytes(hexEncode)
    found.dispose()
    return hex
  }
  return {
    folder,
    key,
    made,
    server,
    addDevice,
    announce,
    obtain,
    cache,
    cacheFile,
    secrets,
    revokeDevice: async (device: string) => {
      metadata = revoke(metadata, device, 'compromise', nowS)
      await announce('revocation')
    },
  }
}

describe('NoiseRuntimeKeys', () => {
  it('fetches the key, keeps it sealed, and starts offline from it', async () => {
    const { addDevice, obtain, key, cacheFile, cache } = await world()
    await addDevice('one')
    expect(await obtain()).toBe(key.hex)
    const bytes = await readFile(cacheFile)
    expect((await stat(cacheFile)).mode & 0o777).toBe(0o600)
    expect(bytes.toString('hex')).not.toContain(key.hex)
    expect(await obtain(offline)).toBe(key.hex)
    expect(await cache.get('ab'.repeat(32))).toBeUndefined()
  })

  it('reads the records afresh when the server no longer knows the key, once', async () => {
    const { addDevice, obtain, secrets, server, key } = await world()
    await addDevice('one')
    expect(await obtain()).toBe(key.hex)
    secrets.clear()
    await addDevice('two')
    server.asked = 0
    expect(await obtain()).toBe(key.hex)
    expect(server.asked).toBeLessThanOrEqual(2)
  })

  it('never asks under a revoked key; what was cached still starts', async () => {
    const { addDevice, revokeDevice, obtain, server, key } = await world()
    await addDevice('one')
    expect(await obtain()).toBe(key.hex)
    await revokeDevice('one')
    server.asked = 0
    expect(await obtain()).toBe(key.hex)
    expect(server.asked).toBe(0)
  })

  it('takes a no for a no, and an outage for an outage', async () => {
    const { addDevice, obtain, server, key, cache } = await world()
    await addDevice('one')
    expect(await obtain()).toBe(key.hex)
    for (const refusal of ['RK_REFUSED', 'RK_KEY_ID_UNKNOWN'] as const) {
      server.refusal = refusal
      await expect(obtain()).rejects.toMatchObject({ code: refusal })
    }
    server.refusal = 'RK_UNAVAILABLE'
    expect(await obtain()).toBe(key.hex)
    await cache.drop()
    await expect(obtain()).rejects.toMatchObject({ code: 'RK_UNAVAILABLE' })
  })

  it('refuses a key that the manifest does not list, and does not keep it', async () => {
    const { addDevice, obtain, server, cache, made } = await world()
    await addDevice('one')
    server.wrongKey = true
    await expect(obtain()).rejects.toMatchObject({ code: 'RK_KEY_MISMATCH' })
    expect(await cache.get(made.pin.sha256)).toBeUndefined()
  })

  it('stops listening to an answer that is too long, and takes no short one', async () => {
    const { addDevice, obtain } = await world()
    await addDevice('one')
    let [sent, cancelled] = [0, false]
    const endless = (): ReadableStream<Uint8Array> =>
      new ReadableStream({
        pull(controller) {
          sent += 1
          if (sent > 100) controller.close()
          else controller.enqueue(new Uint8Array(64))
        },
        cancel: () => {
          cancelled = true
        },
      })
    await expect(obtain(async () => new Response(endless()))).rejects.toMatchObject({ code: 'LA_SIZE' })
    expect([cancelled, sent < 10]).toEqual([true, true])
    await expect(obtain(async () => new Response(new Uint8Array(139)))).rejects.toMatchObject({ code: 'LA_SIZE' })
  })

  it('without a server, without a cache: no start', async () => {
    const { addDevice, obtain } = await world()
    await addDevice('one')
    await expect(obtain(offline)).rejects.toMatchObject({ code: 'LA_NETWORK' })
  })
})

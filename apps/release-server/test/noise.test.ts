import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { activeKey, addKey, afterPublication, createTransportIdentity, cutOver, draftPublication, emptyMetadata, KeyFloors, lookUpKeys, preferredKey, publish, revoke, signPublication, deriveX25519Static } from '@keyturn/noise-keys'
import type { TransportMetadata } from '@keyturn/noise-keys'
import { askOnce, noiseKeyPair, noiseProtocol } from '@keyturn/noise-keys/noise'
import { EXCHANGE_PROTOCOLS, exchangePrologue, openKeyAnswer, RuntimeKey, serverKeyHint, writeExchangeHeader, writeKeyRequest, writeRuntimeKeyBlob } from '@keyturn/runtime-key'
import type { ExchangePattern } from '@keyturn/runtime-key'
import { concatBytes, ed25519PublicKey, hexDecode, hexEncode, systemRandom, utf8Encode, x25519PublicKey } from '@keyturn/primitives'
import { describe, expect, it } from 'vitest'
import { seedOf, TestPublisher } from './publisher.ts'
import type { MadeRelease } from './publisher.ts'
import { someBytes, startServer } from './support.ts'

const marker = someBytes(32)
const { dh } = noiseProtocol(EXCHANGE_PROTOCOLS.NK)

async function world(access: 'open' | 'devices' = 'open') {
  let now = Date.now()
  const lines: string[] = []
  const log = { info: (fields: object, message: string) => lines.push(JSON.stringify([fields, message])), warn: (fields: object, message: string) => lines.push(JSON.stringify([fields, message])), error: (fields: object, message: string) => lines.push(JSON.stringify([fields, message])) }
  const running = await startServer({ vault: { passphrase: 'correct horse', scryptLogN: 4 }, clock: () => now, log: log as never })
  const client = await running.client(['admin'], { })
  const identity = createTransportIdentity(systemRandom)
  const publisher = await TestPublisher.create({ now, transport: [identity.name] })
  await client.createProduct({ slug: 'metin2', pin: publisher.pin, runtime_key_access: access })
  await client.putRoles('metin2', 1, publisher.rolesBytes[0] as Uint8Array)
  await client.putLog('metin2', publisher.log)
  const runtimeKey = RuntimeKey.take({ keyId: 4, masterKey: marker.slice(), signPublicKey: ed25519PublicKey(seedOf('verifier')) })
  const contentKeys = [
    { keyId: 4, verifierPub: hexEncode(ed25519PublicKey(seedOf('verifier'))), commitment: 'bb'.repeat(32), status: 'active' as const },
    { keyId: 3, verifierPub: hexEncode(ed25519PublicKey(seedOf('verifier 3'))), commitment: 'cc'.repeat(32), status: 'revoked' as const },
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
    keys.metadata = addKey(keys.metadata, { device, publicKey, generation: 'G2' }, Math.floor(now / 1000), Math.floor(now / 1000))
    await (await running.client(['admin'])).putTransportKey(identity.name, device, secret)
    return publicKey
  }
  const request = (publicKey: Uint8Array, wanted: { keyId?: number; release?: MadeRelease; sha256?: string } = {}, pattern: ExchangePattern = 'NK', device?: Uint8Array) => {
    const header = writeExchangeHeader({ pattern, serverKeyHint: serverKeyHint(publicKey) })
    const question = askOnce(EXCHANGE_PROTOCOLS[pattern], {
      prologue: exchangePrologue(header), remoteStatic: publicKey, ...(device === undefined ? {} : { staticKey: noiseKeyPair(dh, device) }),
    }, writeKeyRequest({ keyId: wanted.keyId ?? 4, manifestSha256: hexDecode(wanted.sha256 ?? (wanted.release ?? release).pin.sha256) }))
    return { question, body: concatBytes(header, question.message) }
  }
  const send = (body: Uint8Array) => fetch(`${running.url}/noise/runtime-key`, { method: 'POST', headers: { 'content-type': 'application/octet-stream' }, body: body as Uint8Array<ArrayBuffer> })
  const exchange = async (...of: Parameters<typeof request>) => {
    const { question, body } = request(...of)
    const answer = await send(body)
    if (answer.status !== 200) return answer.json() as Promise<{ code: string; status: number }>
    const bytes = new Uint8Array(await answer.arrayBuffer())
    expect(bytes.length).toBe(140)
    return question.readAnswer(bytes)
  }
  return { running, client, identity, publisher, release, runtimeKey, keys, announce, addDevice, request, send, exchange, contentKeys, lines, later: (ms: number) => { now += ms } }
}

const codeOf = (payload: unknown, keyId = 4): string => {
  try {
    openKeyAnswer(payload as Uint8Array, keyId).dispose()
    return 'given'
  } catch (error) {
    return (error as { code: string }).code
  }
}

describe('POST /noise/runtime-key', () => {
  it('hands out the key, answers every refusal in 140 bytes, and keeps no key byte in the clear', async () => {
    const scene = await world()
    const key = await scene.addDevice('server')
    expect(await scene.exchange(key)).toMatchObject({ status: 410, code: 'NK_KEY_UNKNOWN' })
    await scene.announce()
    expect(codeOf(await scene.exchange(key))).toBe('RK_KEY_ID_UNKNOWN')
    await scene.client.putRuntimeKey('metin2', 4, writeRuntimeKeyBlob(scene.runtimeKey))
    const opened = openKeyAnswer(await scene.exchange(key) as Uint8Array, 4)
    opened.withBytes((bytes) => expect(hexEncode(bytes)).toBe(hexEncode(marker)))
    const verdicts = await lookUpKeys(scene.client.keyDirectory(), scene.identity, new KeyFloors(), { nowS: Math.floor(Date.now() / 1000) })
    expect(preferredKey(verdicts).publicKey).toEqual(key)
    expect(codeOf(await scene.exchange(key, { sha256: 'ab'.repeat(32) }))).toBe('RK_RELEASE_UNKNOWN')
    expect(codeOf(await scene.exchange(key, { keyId: 9 }), 9)).toBe('RK_KEY_ID_UNKNOWN')
    expect(codeOf(await scene.exchange(key, { keyId: 3 }), 3)).toBe('RK_KEY_ID_UNKNOWN')
    const draft = await scene.publisher.release({ 'a.txt': utf8Encode('a') }, { contentKeys: scene.contentKeys })
    await scene.client.createRelease('metin2', draft)
    expect(codeOf(await scene.exchange(key, { release: draft }))).toBe('RK_NOT_YET')
    await scene.running.server.context.metadata.transaction([], async (records) => {
      const [sealed] = await records.list('vault-records', { prefix: 'runtime-keys', bodies: true })
      if (sealed?.body !== undefined) await records.put('vault-records', { key: sealed.key, value: sealed.value, body: sealed.body.map((byte, at) => (at === sealed.body!.length - 1 ? byte ^ 1 : byte)) })
    })
    expect(codeOf(await scene.exchange(key))).toBe('RK_UNAVAILABLE')
    const needle = [Buffer.from(marker), ...['hex', 'base64', 'base64url'].map((form) => Buffer.from(Buffer.from(marker).toString(form as 'hex')))]
    for (const name of await readdir(scene.running.dataDir, { recursive: true })) {
      const bytes = await readFile(join(scene.running.dataDir, name)).catch(() => Buffer.alloc(0))
      for (const form of needle) expect(bytes.includes(form)).toBe(false)
    }
    for (const form of needle.slice(1)) expect(scene.lines.join('\n')).not.toContain(form.toString())
  })

  it('answers 400 NK_HANDSHAKE to whatever cannot be read, the same for all, and 413 to more than 145 bytes', async () => {
    const scene = await world()
    const key = await scene.addDevice('server')
    await scene.announce()
    const { body } = scene.request(key)
    const broken = [new Uint8Array(0), body.subarray(0, 96), concatBytes(body, new Uint8Array(1)), Uint8Array.of(2, ...body.subarray(1)), Uint8Array.of(1, 9, ...body.subarray(2)), body.map((byte, at) => (at === 96 ? byte ^ 1 : byte)), body.map((byte, at) => (at === 20 ? byte ^ 1 : byte))]
    const texts = new Set<string>()
    for (const bytes of broken) {
      const answer = await scene.send(bytes)
      expect(answer.status).toBe(400)
      const { request_id: _id, ...problem } = await answer.json() as Record<string, unknown>
      texts.add(JSON.stringify(problem))
    }
    expect([...texts]).toHaveLength(1)
    expect([...texts][0]).toContain('NK_HANDSHAKE')
    expect((await scene.send(new Uint8Array(146))).status).toBe(413)
  })

  it('a replayed request changes nothing and is answered under fresh ephemerals', async () => {
    const scene = await world()
    const key = await scene.addDevice('server')
    await scene.announce()
    await scene.client.putRuntimeKey('metin2', 4, writeRuntimeKeyBlob(scene.runtimeKey))
    const { body } = scene.request(key)
    const [one, two] = await Promise.all([scene.send(body), scene.send(body)].map(async (answer) => hexEncode(new Uint8Array(await (await answer).arrayBuffer()))))
    expect(one).toHaveLength(280)
    expect(one).not.toBe(two)
  })

  it('a turned key serves its overlap; retired and revoked ones answer 410 and are gone from the vault', async () => {
    const scene = await world()
    await scene.client.putRuntimeKey('metin2', 4, writeRuntimeKeyBlob(scene.runtimeKey))
    const old = await scene.addDevice('server')
    await scene.announce()
    const fresh = await scene.addDevice('server-2')
    await scene.announce()
    scene.later(1000)
    scene.keys.metadata = cutOver(scene.keys.metadata, Math.floor(Date.now() / 1000) + 1)
    await scene.announce()
    expect(activeKey(scene.keys.metadata)?.device).toBe('server-2')
    expect(codeOf(await scene.exchange(old))).toBe('given')
    expect(codeOf(await scene.exchange(fresh))).toBe('given')
    scene.keys.metadata = revoke(scene.keys.metadata, 'server', 'compromise', Math.floor(Date.now() / 1000) + 2)
    scene.later(2000)
    await scene.announce('revocation')
    expect(await scene.exchange(old)).toMatchObject({ status: 410, code: 'NK_KEY_UNKNOWN' })
    expect(codeOf(await scene.exchange(fresh))).toBe('given')
    const left = await scene.running.server.context.metadata.list('vault-records', { prefix: 'keyturn' })
    expect(left).toHaveLength(1)
  })

  it('devices: only listed IK keys get one, and striking one ends it at once', async () => {
    const scene = await world('devices')
    await scene.client.putRuntimeKey('metin2', 4, writeRuntimeKeyBlob(scene.runtimeKey))
    const key = await scene.addDevice('server')
    await scene.announce()
    const device = someBytes(32)
    const name = hexEncode(x25519PublicKey(device))
    expect(codeOf(await scene.exchange(key))).toBe('RK_REFUSED')
    expect(codeOf(await scene.exchange(key, {}, 'IK', device))).toBe('RK_REFUSED')
    await scene.client.addDevice('metin2', name, 'my machine')
    expect(codeOf(await scene.exchange(key, {}, 'IK', device))).toBe('given')
    await scene.client.removeDevice('metin2', name)
    expect(codeOf(await scene.exchange(key, {}, 'IK', device))).toBe('RK_REFUSED')
  })

  it('a transport identity that the role document does not name is refused', async () => {
    const scene = await world()
    await scene.client.putRuntimeKey('metin2', 4, writeRuntimeKeyBlob(scene.runtimeKey))
    const other = createTransportIdentity(systemRandom)
    const secret = deriveX25519Static(other.seed, 'server')
    const publicKey = x25519PublicKey(secret)
    await scene.client.putTransportKey(other.name, 'server', secret)
    const metadata = addKey(emptyMetadata(other.name), { device: 'server', publicKey, generation: 'G2' }, Math.floor(Date.now() / 1000), Math.floor(Date.now() / 1000))
    await publish(scene.client.keyDirectory(), signPublication(other.seed, draftPublication(metadata, Math.floor(Date.now() / 1000))))
    expect(codeOf(await scene.exchange(publicKey))).toBe('RK_REFUSED')
  })
})

describe('key files', () => {
  it('takes only what the identity signed', async () => {
    const scene = await world()
    await scene.addDevice('server')
    await scene.announce()
    const admin = { authorization: `Bearer ${await scene.running.token(['admin'])}`, 'content-type': 'application/octet-stream' }
    const at = `${scene.running.url}/pubky/${scene.identity.name}/pub/noise.app/v0/server`
    const record = await (await fetch(at)).text()
    expect((await fetch(at, { method: 'PUT', headers: admin, body: `${record.slice(0, -2)}xx` })).status).toBeGreaterThanOrEqual(400)
    expect((await fetch(at.replace('/server', '/other'), { method: 'PUT', headers: admin, body: record })).status).toBeGreaterThanOrEqual(400)
    expect((await fetch(at, { method: 'PUT', headers: { 'content-type': 'application/octet-stream' }, body: record })).status).toBe(401)
    expect((await fetch(`${scene.running.url}/pkarr/${scene.identity.name}`)).status).toBe(200)
    expect((await fetch(`${scene.running.url}/pkarr/${scene.identity.name}`, { method: 'PUT', body: 'rubbish' })).status).toBe(400)
  })
})

import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createTransportIdentity } from '@keyturn/noise-keys'
import {
  activeKey,
  addKey,
  cutOver,
  draftPublication,
  emptyMetadata,
  publish,
  revoke,
  signPublication,
  deriveX25519Static,
} from '@keyturn/noise-keys/owner'
import { KeyFloors, lookUpKeys, preferredKey } from '@keyturn/noise-keys/reader'
import { openKeyAnswer, writeRuntimeKeyBlob } from '@keyturn/runtime-key'
import { concatBytes, hexEncode, systemRandom, utf8Encode, x25519PublicKey } from '@keyturn/primitives'
import { describe, expect, it } from 'vitest'
import { ServerError } from '../src/errors.ts'
import { someBytes } from './support.ts'
import { codeOf, marker, world } from './noise-world.ts'

describe('POST /noise/runtime-key', () => {
  it('delivers the key, answers every refusal in 140 bytes, and stores no key byte in the clear', async () => {
    const scene = await world()
    const key = await scene.addDevice('server')
    expect(await scene.exchange(key)).toMatchObject({ status: 410, code: 'NK_KEY_UNKNOWN' })
    await scene.announce()
    expect(codeOf(await scene.exchange(key))).toBe('RK_KEY_ID_UNKNOWN')
    await scene.client.putRuntimeKey('metin2', 4, writeRuntimeKeyBlob(scene.runtimeKey))
    const opened = openKeyAnswer((await scene.exchange(key)) as Uint8Array, 4)
    opened.withBytes((bytes) => expect(hexEncode(bytes)).toBe(hexEncode(marker)))
    const verdicts = await lookUpKeys(scene.client.keyDirectory(), scene.identity, new KeyFloors(), {
      nowS: Math.floor(Date.now() / 1000),
    })
    expect(preferredKey(verdicts).publicKey).toEqual(key)
    expect(codeOf(await scene.exchange(key, { sha256: 'ab'.repeat(32) }))).toBe('RK_RELEASE_UNKNOWN')
    expect(codeOf(await scene.exchange(key, { keyId: 9 }), 9)).toBe('RK_KEY_ID_UNKNOWN')
    expect(codeOf(await scene.exchange(key, { keyId: 3 }), 3)).toBe('RK_KEY_ID_UNKNOWN')
    const draft = await scene.publisher.release({ 'a.txt': utf8Encode('a') }, { contentKeys: scene.contentKeys })
    await scene.client.createRelease('metin2', draft)
    expect(codeOf(await scene.exchange(key, { release: draft }))).toBe('RK_NOT_YET')
    await scene.running.server.context.metadata.transaction([], async (records) => {
      const [sealed] = await records.list('vault-records', { prefix: 'runtime-keys', bodies: true })
      if (sealed?.body !== undefined)
        await records.put('vault-records', {
          key: sealed.key,
          value: sealed.value,
          body: sealed.body.map((byte, at) => (at === sealed.body!.length - 1 ? byte ^ 1 : byte)),
        })
    })
    expect(codeOf(await scene.exchange(key))).toBe('RK_UNAVAILABLE')
    const needle = [
      Buffer.from(marker),
      ...['hex', 'base64', 'base64url'].map((form) => Buffer.from(Buffer.from(marker).toString(form as 'hex'))),
    ]
    for (const name of await readdir(scene.running.dataDir, { recursive: true })) {
      const bytes = await readFile(join(scene.running.dataDir, name)).catch(() => Buffer.alloc(0))
      for (const form of needle) expect(bytes.includes(form)).toBe(false)
    }
    for (const form of needle.slice(1)) expect(scene.lines.join('\n')).not.toContain(form.toString())
  })

  it('answers 400 NK_HANDSHAKE to everything unreadable, always the same, and 413 to more than 145 bytes', async () => {
    const scene = await world()
    const key = await scene.addDevice('server')
    await scene.announce()
    const { body } = scene.request(key)
    const broken = [
      new Uint8Array(0),
      body.subarray(0, 96),
      concatBytes(body, new Uint8Array(1)),
      Uint8Array.of(2, ...body.subarray(1)),
      Uint8Array.of(1, 9, ...body.subarray(2)),
      body.map((byte, at) => (at === 96 ? byte ^ 1 : byte)),
      body.map((byte, at) => (at === 20 ? byte ^ 1 : byte)),
    ]
    const texts = new Set<string>()
    for (const bytes of broken) {
      const answer = await scene.send(bytes)
      expect(answer.status).toBe(400)
      const { request_id: _id, ...problem } = (await answer.json()) as Record<string, unknown>
      texts.add(JSON.stringify(problem))
    }
    expect([...texts]).toHaveLength(1)
    expect([...texts][0]).toContain('NK_HANDSHAKE')
    expect((await scene.send(new Uint8Array(146))).status).toBe(413)
  })

  it('a replayed request changes nothing and is answered under fresh ephemeral keys', async () => {
    const scene = await world()
    const key = await scene.addDevice('server')
    await scene.announce()
    await scene.client.putRuntimeKey('metin2', 4, writeRuntimeKeyBlob(scene.runtimeKey))
    const { body } = scene.request(key)
    const [one, two] = await Promise.all(
      [scene.send(body), scene.send(body)].map(async (answer) =>
        hexEncode(new Uint8Array(await (await answer).arrayBuffer())),
      ),
    )
    expect(one).toHaveLength(280)
    expect(one).not.toBe(two)
  })

  it('a rotated key serves its overlap; retired and revoked ones answer 410 and are deleted from the vault', async () => {
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

  it('a key whose overlap is over answers 410 and is deleted from the vault', async () => {
    const scene = await world()
    const old = await scene.addDevice('server')
    await scene.announce()
    await scene.addDevice('server-2')
    await scene.announce()
    scene.keys.metadata = cutOver(scene.keys.metadata, Math.floor(Date.now() / 1000) + 1)
    await scene.announce()
    expect(codeOf(await scene.exchange(old))).toBe('RK_KEY_ID_UNKNOWN')
    scene.later(9 * 86_400_000)
    expect(await scene.exchange(old)).toMatchObject({ status: 410, code: 'NK_KEY_UNKNOWN' })
    expect(
      (await scene.running.server.context.metadata.list('vault-records', { prefix: 'keyturn' })).map(({ key }) => key),
    ).toEqual([expect.stringContaining('server-2')])
  })

  it('429 above the rate, 503 while the storage does not answer, each with Retry-After; 410 for a server key nobody has', async () => {
    const limited = await world('open', { rates: { noisePerMinute: 1 } })
    const codes = [await limited.send(new Uint8Array(97)), await limited.send(new Uint8Array(97))]
    expect(codes.map(({ status }) => status)).toEqual([400, 429])
    expect(Number(codes[1]?.headers.get('retry-after'))).toBeGreaterThan(0)
    const scene = await world()
    const key = await scene.addDevice('server')
    expect(await scene.exchange(someBytes(32))).toMatchObject({ status: 410, code: 'NK_KEY_UNKNOWN' })
    await scene.announce()
    expect(codeOf(await scene.exchange(key))).toBe('RK_KEY_ID_UNKNOWN')
    const { metadata } = scene.running.server.context
    const { get } = metadata
    metadata.get = async () => {
      throw new ServerError('SRV_UNAVAILABLE', 'the database is away')
    }
    try {
      const answer = await scene.send(scene.request(key).body)
      expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '2'])
    } finally {
      metadata.get = get
    }
  })

  it('a transport identity that the role document does not name is refused', async () => {
    const scene = await world()
    await scene.client.putRuntimeKey('metin2', 4, writeRuntimeKeyBlob(scene.runtimeKey))
    const other = createTransportIdentity(systemRandom)
    const secret = deriveX25519Static(other.seed, 'server')
    const publicKey = x25519PublicKey(secret)
    await scene.client.putTransportKey(other.name, 'server', secret)
    const metadata = addKey(
      emptyMetadata(other.name),
      { device: 'server', publicKey, generation: 'G2' },
      Math.floor(Date.now() / 1000),
      Math.floor(Date.now() / 1000),
    )
    await publish(
      scene.client.keyDirectory(),
      signPublication(other.seed, draftPublication(metadata, Math.floor(Date.now() / 1000))),
    )
    expect(codeOf(await scene.exchange(publicKey))).toBe('RK_REFUSED')
  })
})

describe('key files', () => {
  it('accepts only what the identity signed', async () => {
    const scene = await world()
    await scene.addDevice('server')
    await scene.announce()
    const admin = {
      authorization: `Bearer ${await scene.running.token(['admin'])}`,
      'content-type': 'application/octet-stream',
    }
    const at = `${scene.running.url}/pubky/${scene.identity.name}/pub/noise.app/v0/server`
    const record = await (await fetch(at)).text()
    expect(
      (await fetch(at, { method: 'PUT', headers: admin, body: `${record.slice(0, -2)}xx` })).status,
    ).toBeGreaterThanOrEqual(400)
    expect(
      (await fetch(at.replace('/server', '/other'), { method: 'PUT', headers: admin, body: record })).status,
    ).toBeGreaterThanOrEqual(400)
    expect(
      (await fetch(at, { method: 'PUT', headers: { 'content-type': 'application/octet-stream' }, body: record }))
        .status,
    ).toBe(401)
    expect((await fetch(`${scene.running.url}/pkarr/${scene.identity.name}`)).status).toBe(200)
    expect(
      (await fetch(`${scene.running.url}/pkarr/${scene.identity.name}`, { method: 'PUT', body: 'rubbish' })).status,
    ).toBe(400)
  })
})

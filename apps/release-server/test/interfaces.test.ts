import { execFileSync } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createPrivateKey } from 'node:crypto'
import { generateKeyPair } from 'jose'
import { ed25519PublicKey, ed25519Sign, utf8Encode } from '@keyturn/primitives'
import { pathExists } from '@keyturn/primitives/node'
import { verifyLegacySignature } from '@keyturn/manifest'
import { signManifest } from '@keyturn/manifest/publish'
import { describe, expect, it } from 'vitest'
import { readConfig } from '../src/config.ts'
import { exportStatic } from '../src/releases/export-static.ts'
import { parseOidcRules } from '../src/access/oidc.ts'
import { documentKey, documentRecord, documents } from '../src/public/documents.ts'
import { selectRepresentation } from '../src/public/conditional.ts'
import { seedOf, signerOf, TestPublisher } from './publisher.ts'
import { someBytes, startServer, temporaryFolder } from './support.ts'
import { startIssuer } from './oidc-issuer.ts'
import type { TestIssuer } from './oidc-issuer.ts'

describe('the original launcher', () => {
  it('finds the pair it knows: manifest.json and 64 raw bytes made by openssl', async () => {
    const { client, url } = await startServer()
    const publisher = await TestPublisher.create()
    const admin = await client(['admin'])
    await publisher.introduce(admin)
    const release = await publisher.release({ 'Metin2.exe': someBytes(500) })
    const folder = await temporaryFolder()
    await writeFile(join(folder, 'manifest.json'), release.manifest)
    const pkcs8 = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), Buffer.from(seedOf('legacy'))])
    await writeFile(
      join(folder, 'key.pem'),
      createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' }).export({ type: 'pkcs8', format: 'pem' }),
    )
    execFileSync(
      'openssl',
      ['pkeyutl', '-sign', '-rawin', '-inkey', 'key.pem', '-in', 'manifest.json', '-out', 'manifest.json.sig'],
      { cwd: folder },
    )
    const legacySignature = new Uint8Array(await readFile(join(folder, 'manifest.json.sig')))
    expect(legacySignature).toEqual(ed25519Sign(seedOf('legacy'), release.manifest))
    await admin.uploadMissing(release.blobs)
    await admin.createRelease('metin2', { ...release, legacySignature })
    await admin.publish('metin2', 'stable', { version: release.model.version, head: await publisher.head(release) })
    const bytes = async (path: string) => new Uint8Array(await (await fetch(url + path)).arrayBuffer())
    const [manifest, signature] = [await bytes('/manifest.json'), await bytes('/manifest.json.sig')]
    expect(signature.length).toBe(64)
    expect(manifest).toEqual(release.manifest)
    expect(() =>
      verifyLegacySignature(
        manifest,
        signature,
        { kind: 'pinned-keys', keys: [{ key: Buffer.from(ed25519PublicKey(seedOf('legacy'))).toString('hex') }] },
        Date.now(),
      ),
    ).not.toThrow()
    expect(await bytes(`/manifests/${release.model.version}.json.sig`)).toEqual(signature)
    for (const { sha256, size } of release.blobs)
      expect((await bytes(`/files/${sha256.slice(0, 2)}/${sha256}`)).length).toBe(size)
  })

  it('a static host that serves the exported files answers the same bytes', async () => {
    const { client, url, server } = await startServer()
    const publisher = await TestPublisher.create()
    const admin = await client(['admin'])
    await publisher.introduce(admin)
    const release = await publisher.release({ 'a.bin': someBytes(400_000) })
    await publisher.publish(admin, release)
    const folder = await temporaryFolder()
    expect(await exportStatic(server.context, folder)).toMatchObject({ blobs: 2 })
    expect(await exportStatic(server.context, folder)).toMatchObject({ blobs: 0 })
    const [hash = ''] = release.blobs.map(({ sha256 }) => sha256)
    const paths = [
      'manifest.json',
      'manifest.sigs.json',
      'head.json',
      'channels/stable/head.json',
      `manifests/${release.model.version}.json`,
      `channels/stable/manifests/${release.model.version}.sigs.json`,
      'roles/1.json',
      `kel/${publisher.events[0]?.prefix}.cesr`,
      'p/metin2/head.json',
      `files/${hash.slice(0, 2)}/${hash}`,
    ]
    for (const path of paths)
      expect([
        path,
        Buffer.from(await (await fetch(`${url}/${path}`)).arrayBuffer()).equals(await readFile(join(folder, path))),
      ]).toEqual([path, true])
  })
})

describe('a version that leads out of a folder', () => {
  it('is refused in any release, and an export writes nothing outside its folder', async () => {
    const { client, server } = await startServer()
    const publisher = await TestPublisher.create()
    const admin = await client(['admin'])
    await publisher.introduce(admin)
    const release = await publisher.release({ 'a.bin': someBytes(10) })
    const manifest = utf8Encode(
      JSON.stringify({ ...JSON.parse(Buffer.from(release.manifest).toString()), version: '../../x' }),
    )
    const signatures = await signManifest(manifest, [signerOf('release 1')])
    await admin.uploadMissing(release.blobs)
    await expect(admin.createRelease('metin2', { manifest, signatures })).rejects.toMatchObject({ code: 'MAN_SCHEMA' })
    await publisher.publish(admin, release)
    const record = documentRecord(
      documentKey('metin2', 'stable', 'manifests/../../../../../escaped.json'),
      utf8Encode('{}'),
    )
    await server.context.metadata.transaction([], (records) => documents.put(records, record))
    const folder = join(await temporaryFolder(), 'a', 'b')
    await expect(exportStatic(server.context, folder)).rejects.toMatchObject({ code: 'SRV_STORAGE' })
    expect(await pathExists(join(folder, '..', 'escaped.json'))).toBe(false)
  })
})

describe('Idempotency-Key', () => {
  it('makes a change once and answers twice; another request under the key is refused', async () => {
    const { url, token } = await startServer()
    const publisher = await TestPublisher.create()
    const send = async (body: unknown, key = 'one') =>
      fetch(`${url}/v1/products`, {
        method: 'POST',
        body: JSON.stringify(body),
        headers: { authorization: `Bearer ${bearer}`, 'content-type': 'application/json', 'idempotency-key': key },
      })
    const bearer = await token(['admin'])
    const product = { slug: 'metin2', pin: publisher.pin }
    const [first, second] = [await send(product), await send(product)]
    expect([first.status, second.status]).toEqual([201, 201])
    expect(second.headers.get('idempotent-replayed')).toBe('true')
    expect(await second.text()).toBe(await first.text())
    expect(await (await send({ ...product, name: 'x' })).json()).toMatchObject({ code: 'SRV_IDEMPOTENCY', status: 409 })
    expect((await send(product, 'two')).status).toBe(200)
    expect((await send(product, 'é')).status).toBe(400)
  })
})

describe('OIDC', () => {
  it('accepts tokens of the issuer by rule, and no others', async () => {
    const issuer = await startIssuer()
    const stranger = await generateKeyPair('ES256')
    const rules = parseOidcRules(
      '[{"claims":{"repository":"example/game","ref":"refs/heads/*"},"scopes":["releases:read"]}]',
    )
    const { url } = await startServer({ oidc: { issuer: issuer.url, audience: 'keyturn', rules } })
    const ask = async (claims: Record<string, string>, options: Parameters<TestIssuer['token']>[1] = {}) => {
      const jwt = await issuer.token(claims, options)
      return (await fetch(`${url}/v1/products`, { headers: { authorization: `Bearer ${jwt}` } })).status
    }
    const good = { repository: 'example/game', ref: 'refs/heads/main' }
    expect(await ask(good)).toBe(200)
    expect(await ask({ ...good, repository: 'example/other' })).toBe(401)
    expect(await ask({ repository: 'example/game' })).toBe(401)
    expect(await ask(good, { audience: 'other' })).toBe(401)
    expect(await ask(good, { issuer: 'http://evil.example' })).toBe(401)
    expect(await ask(good, { key: stranger.privateKey })).toBe(401)
    expect(await ask(good, { expires: '-1m' })).toBe(401)
    expect(() => parseOidcRules('[{"claims":{"sub":"*"},"scopes":["admin"]}]')).toThrow(
      expect.objectContaining({ code: 'SRV_CONFIG' }),
    )
  })
})

describe('settings', () => {
  it('unknown names, bad values and missing partners stop the start, without showing secrets', async () => {
    const folder = await temporaryFolder()
    const file = join(folder, 's.json')
    const refused = async (environment: Record<string, string>, text?: string) => {
      if (text !== undefined) await writeFile(file, text)
      const error = await readConfig(environment, text === undefined ? undefined : file).then(
        () => undefined,
        (cause: unknown) => cause as { code: string; message: string },
      )
      expect(error?.code).toBe('SRV_CONFIG')
      return error?.message
    }
    expect(await refused({}, '{"KEYTURN_PROT":1}')).toContain('KEYTURN_PROT')
    expect(await refused({ KEYTURN_PORT: '99999' })).toContain('KEYTURN_PORT')
    expect(await refused({ KEYTURN_TRUST_PROXY: 'yes' })).toContain('KEYTURN_TRUST_PROXY')
    expect(await refused({ KEYTURN_S3_URL: 'https://s3/b' })).toContain('KEYTURN_S3_ACCESS_KEY')
    expect(await refused({ KEYTURN_DATABASE_URL: 'mysql://user:hunter2@h/d' })).not.toContain('hunter2')
    for (const prefix of [
      'internal',
      '/',
      '/a/',
      '//host/a',
      '/a/../b',
      '/a?b',
      '/a b',
      '/%2e',
      'http://h/a',
      '/a\r\nX: 1',
    ])
      expect(await refused({ KEYTURN_ACCEL_PREFIX: prefix }), prefix).toContain('KEYTURN_ACCEL_PREFIX')
    expect(await readConfig({ KEYTURN_ACCEL_PREFIX: '/internal/files-1.0' })).toMatchObject({
      accelPrefix: '/internal/files-1.0',
    })
    expect(await readConfig({ KEYTURN_PORT: '1' }, file).catch(() => undefined)).toBeUndefined()
    await writeFile(file, '{"KEYTURN_PORT":2}')
    expect(await readConfig({ KEYTURN_PORT: '1' }, file)).toMatchObject({ port: 1, host: '127.0.0.1' })
  })
})

describe('golden data', () => {
  it('data of every version opens: readers, audit log and stores are intact', async () => {
    const { cp } = await import('node:fs/promises')
    const { checkStores } = await import('../src/releases/fsck.ts')
    const golden = join(import.meta.dirname, 'golden', 'v1')
    const expected = JSON.parse(await readFile(join(golden, 'expected.json'), 'utf8')) as {
      manifest: string
      head: number
      audit: number
    }
    const dataDir = await temporaryFolder()
    await cp(join(golden, 'data'), dataDir, { recursive: true })
    const { url, server, client } = await startServer({ dataDir })
    expect((await fetch(`${url}/manifest.json`)).headers.get('etag')).toBe(`"sha256-${expected.manifest}"`)
    expect((await (await client(['releases:read'])).getChannel('metin2', 'stable'))?.head?.sequence).toBe(expected.head)
    const report = await checkStores(server.context, {}, { actor: 'local', requestId: 'test' })
    expect(report).toMatchObject({ damaged: [], lost: [], broken: [] })
    expect(report.auditEntries).toBeGreaterThanOrEqual(expected.audit)
  })
})

describe('selectRepresentation()', () => {
  it('never selects bytes outside the representation', () => {
    for (const size of [0, 1, 10]) {
      for (const range of [
        'bytes=0-',
        'bytes=0-0',
        'bytes=-1',
        'bytes=9-9',
        'bytes=10-',
        'bytes=0-99',
        'bytes=-99',
        'bytes=-0',
        'bytes=99999999999999999-',
        'bytes=',
        'bytes=-',
      ]) {
        const found = selectRepresentation(
          'GET',
          { ifMatch: undefined, ifNoneMatch: undefined, ifRange: undefined, range },
          '"x"',
          size,
        )
        if (found.status === 206) expect(found.start >= 0 && found.end >= found.start && found.end < size).toBe(true)
      }
    }
  })
})

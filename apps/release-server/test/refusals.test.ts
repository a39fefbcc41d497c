import { createHash } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { utf8Encode } from '@keyturn/primitives'
import { TestPublisher } from './publisher.ts'
import { sha256Hex, someBytes, startServer } from './support.ts'
import type { RunningServer } from './support.ts'

const TUS = { 'tus-resumable': '1.0.0' }
const PIECE = { ...TUS, 'content-type': 'application/offset+octet-stream' }

/** Status and code of an answer. */
async function problem(answer: Response): Promise<[number, unknown]> {
  return [answer.status, ((await answer.json()) as { code?: unknown }).code]
}

interface UploadScene {
  readonly running: RunningServer
  send(method: string, path: string, headers?: Record<string, string>, body?: Uint8Array): Promise<Response>
  start(content: Uint8Array): Promise<string>
}

async function uploads(options: { clock?: () => number } = {}): Promise<UploadScene> {
  const running = await startServer(options)
  const authorization = `Bearer ${await running.token(['blobs:write'])}`
  const send: UploadScene['send'] = (method, path, headers = {}, body) =>
    fetch(running.url + path, {
      method,
      headers: { authorization, ...headers },
      ...(body === undefined ? {} : { body: Uint8Array.from(body) }),
    })
  const start: UploadScene['start'] = async (content) => {
    const name = Buffer.from(sha256Hex(content)).toString('base64')
    const headers = { ...TUS, 'upload-length': String(content.length), 'upload-metadata': `sha256 ${name}` }
    const answer = await send('POST', '/v1/uploads', headers)
    expect(answer.status).toBe(201)
    return answer.headers.get('location') ?? ''
  }
  return { running, send, start }
}

describe('a resumable upload', () => {
  it('is refused in another version of the protocol, at another offset, and with another checksum', async () => {
    const { send, start } = await uploads()
    const content = someBytes(10)
    const path = await start(content)
    const at = (offset: number): Record<string, string> => ({ ...PIECE, 'upload-offset': String(offset) })
    expect((await send('HEAD', path, { 'tus-resumable': '0.2.2' })).status).toBe(412)
    const other = await send('PATCH', path, { ...at(0), 'tus-resumable': '0.2.2' }, content)
    expect(await problem(other)).toEqual([412, 'SRV_PRECONDITION'])
    expect(await problem(await send('PATCH', path, at(4), content.subarray(4)))).toEqual([409, 'UP_OFFSET'])
    const checksum = `sha256 ${createHash('sha256').update('other bytes').digest('base64')}`
    const checked = { ...at(0), 'upload-checksum': checksum }
    expect(await problem(await send('PATCH', path, checked, content))).toEqual([460, 'UP_CHECKSUM'])
    expect((await send('HEAD', path, TUS)).headers.get('upload-offset'), 'none of it was stored').toBe('0')
    expect((await send('PATCH', path, at(0), content)).status).toBe(204)
    expect(await problem(await send('PATCH', path, at(0), content))).toEqual([409, 'UP_OFFSET'])
  })

  it('is gone once it has expired (UP_GONE)', async () => {
    let now = Date.now()
    const { send, start } = await uploads({ clock: () => now })
    const path = await start(someBytes(10))
    now += 30 * 86_400_000
    expect(await problem(await send('PATCH', path, { ...PIECE, 'upload-offset': '0' }, someBytes(10)))).toEqual([
      410,
      'UP_GONE',
    ])
  })
})

it('a method that an address does not answer is SRV_METHOD, in the API and in the public tree', async () => {
  const { url } = await startServer()
  expect(await problem(await fetch(`${url}/v1/tokens`, { method: 'PATCH' }))).toEqual([405, 'SRV_METHOD'])
  expect(await problem(await fetch(`${url}/head.json`, { method: 'DELETE' }))).toEqual([405, 'SRV_METHOD'])
})

describe('a release', () => {
  it('cannot be made before the product has a log and roles (SRV_PRODUCT_TRUST), nor a log without its roles (PUB_UNSEALED)', async () => {
    const running = await startServer()
    const client = await running.client(['admin'])
    const publisher = await TestPublisher.create()
    await client.createProduct({ slug: 'metin2', pin: publisher.pin })
    const release = await publisher.release({ 'a.txt': utf8Encode('a') })
    await client.uploadMissing(release.blobs)
    await expect(client.createRelease('metin2', release)).rejects.toMatchObject({ code: 'SRV_PRODUCT_TRUST' })
    await expect(client.putLog('metin2', publisher.log)).rejects.toMatchObject({ code: 'PUB_UNSEALED' })
  })

  it('is published as its head pins it, with a fallback of its channel (PUB_UNKNOWN_RELEASE)', async () => {
    const running = await startServer()
    const client = await running.client(['admin'])
    const publisher = await TestPublisher.create()
    await publisher.introduce(client)
    const release = await publisher.release({ 'a.txt': utf8Encode('a') })
    await client.uploadMissing(release.blobs)
    await client.createRelease('metin2', release)
    const rollout = { percent: 10, salt: '00'.repeat(16), paused: false }
    const fallback = { ...release.pin, version: 'none', sha256: '00'.repeat(32) }
    const head = await publisher.head(release, { edit: (model) => ({ ...model, fallback, rollout }) })
    const publication = { version: release.model.version, head }
    await expect(client.publish('metin2', 'stable', publication)).rejects.toMatchObject({ code: 'PUB_UNKNOWN_RELEASE' })
  })

  it('whose manifest is damaged in the storage is not served as if it were whole (BLOB_CORRUPT)', async () => {
    const running = await startServer()
    const client = await running.client(['admin'])
    const publisher = await TestPublisher.create()
    await publisher.introduce(client)
    const release = await publisher.release({ 'a.txt': utf8Encode('a') })
    await client.uploadMissing(release.blobs)
    await client.createRelease('metin2', release)
    const { blobs } = running.server.context
    await writeFile(blobs.localPath?.(release.pin.sha256) ?? '', 'x')
    const publication = { version: release.model.version, head: await publisher.head(release) }
    await expect(client.publish('metin2', 'stable', publication)).rejects.toMatchObject({ code: 'BLOB_CORRUPT' })
  })
})

it('garbage is collected once at a time (GC_RUNNING)', async () => {
  const running = await startServer()
  const client = await running.client(['admin'])
  const publisher = await TestPublisher.create()
  await publisher.introduce(client)
  await publisher.publish(client, await publisher.release({ 'a.txt': utf8Encode('a') }))
  const { metadata, clock } = running.server.context
  await metadata.transaction([], (records) =>
    records.put('leases', { key: 'gc', value: { until_ms: clock() + 60_000 } }),
  )
  await expect(client.collectGarbage({ dryRun: false })).rejects.toMatchObject({ code: 'GC_RUNNING' })
})

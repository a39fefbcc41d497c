import { request } from 'node:http'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { blobFromBytes, ReleaseServerClient } from '@keyturn/release-client'
import { fileUrl, sha256Hex, someBytes, startServer } from './support.ts'

describe('blobs', () => {
  it('PUT stores a blob that readers get with immutable headers', async () => {
    const { client, url } = await startServer()
    const uploader = await client(['blobs:write', 'blobs:read'])
    const blob = blobFromBytes(someBytes(100_000))
    expect(await uploader.missingBlobs([blob.sha256])).toEqual([blob.sha256])
    await uploader.uploadBlob(blob)
    expect(await uploader.missingBlobs([blob.sha256])).toEqual([])
    const answer = await fetch(fileUrl(url, blob.sha256))
    expect(answer.status).toBe(200)
    expect(answer.headers.get('etag')).toBe(`"sha256-${blob.sha256}"`)
    expect(answer.headers.get('cache-control')).toBe('public, max-age=31536000, immutable')
    expect(sha256Hex(new Uint8Array(await answer.arrayBuffer()))).toBe(blob.sha256)
    expect(await uploader.getBlob(blob.sha256)).toMatchObject({ size: 100_000, storage: 'folder' })
  })

  it('PUT answers 200 for a stored blob, 422 UP_HASH for other bytes, and stores none of them (rows 235, 252)', async () => {
    const { client, url, token, dataDir } = await startServer()
    const bytes = someBytes(5000)
    await (await client(['blobs:write'])).uploadBlob(blobFromBytes(bytes))
    const headers = {
      authorization: `Bearer ${await token(['blobs:write'])}`,
      'content-type': 'application/octet-stream',
    }
    const again = await fetch(`${url}/v1/blobs/${sha256Hex(bytes)}`, { method: 'PUT', headers, body: bytes })
    expect(again.status).toBe(200)
    const other = sha256Hex(someBytes(10))
    const wrong = await fetch(`${url}/v1/blobs/${other}`, { method: 'PUT', headers, body: bytes })
    expect(wrong.status).toBe(422)
    expect(await wrong.json()).toMatchObject({ code: 'UP_HASH', status: 422 })
    expect(await readdir(join(dataDir, 'blobs', 'files', other.slice(0, 2)))).not.toContain(other)
  })

  it('PUT refuses missing, wrong and foreign tokens without reading the body (row 233)', async () => {
    const { url, token } = await startServer()
    const hash = sha256Hex(someBytes(1))
    const put = (authorization?: string) =>
      fetch(`${url}/v1/blobs/${hash}`, {
        method: 'PUT',
        body: new Uint8Array(1),
        headers: {
          'content-type': 'application/octet-stream',
          ...(authorization === undefined ? {} : { authorization }),
        },
      })
    expect((await put()).status).toBe(401)
    expect(
      await (await put('Bearer m2t_aaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa')).json(),
    ).toMatchObject({ code: 'UP_AUTH', status: 401 })
    const foreign = await put(`Bearer ${await token(['audit:read'])}`)
    expect(foreign.status).toBe(403)
    expect(await foreign.json()).toMatchObject({ code: 'UP_SCOPE' })
  })

  it('a resumable upload continues after a cut and after a restart of the client (row 236)', async () => {
    const { client, url, token } = await startServer()
    const bytes = someBytes(40 * 1024 * 1024)
    const source = blobFromBytes(bytes)
    const secret = await token(['blobs:write'])
    let patches = 0
    const cutting = new ReleaseServerClient(url, {
      token: secret,
      retries: 0,
      fetch: (input, init) =>
        init?.method === 'PATCH' && ++patches === 3 ? Promise.reject(new Error('cut')) : fetch(input, init),
    })
    await expect(cutting.uploadBlob(source)).rejects.toMatchObject({ code: 'SRV_NETWORK' })
    let sent = 0
    await new ReleaseServerClient(url, { token: secret }).uploadBlob(source, {
      onProgress: (count) => {
        sent += count
      },
    })
    expect(sent).toBe(bytes.length - 16 * 1024 * 1024)
    const answer = await fetch(fileUrl(url, source.sha256))
    expect(sha256Hex(new Uint8Array(await answer.arrayBuffer()))).toBe(source.sha256)
    expect(await (await client(['blobs:write'])).missingBlobs([source.sha256])).toEqual([])
  })

  it('a resumable upload with wrong bytes ends with UP_HASH and is dropped', async () => {
    const { client } = await startServer()
    const bytes = someBytes(17 * 1024 * 1024)
    const source = {
      sha256: sha256Hex(someBytes(3)),
      size: bytes.length,
      read: async (offset: number, length: number) => bytes.subarray(offset, offset + length),
    }
    const uploader = await client(['blobs:write'])
    await expect(uploader.uploadBlob(source)).rejects.toMatchObject({ code: 'UP_HASH' })
    expect(await uploader.missingBlobs([source.sha256])).toEqual([source.sha256])
  })

  it.each([
    ['bytes=0-0', 206, 'bytes 0-0/100000'],
    ['bytes=-1', 206, 'bytes 99999-99999/100000'],
    ['bytes=5-4', 416, 'bytes */100000'],
    ['bytes=100000-', 416, 'bytes */100000'],
    ['bytes=0-1,5-6', 200, null],
    ['bytes=a-b', 416, 'bytes */100000'],
    ['bytes=99990-200000', 206, 'bytes 99990-99999/100000'],
    ['lines=1-2', 200, null],
    ['bytes=-0', 416, 'bytes */100000'],
  ])('range %s is answered %i (row 231)', async (range, status, contentRange) => {
    const { client, url } = await startServer()
    const bytes = someBytes(100_000)
    const blob = blobFromBytes(bytes)
    await (await client(['blobs:write'])).uploadBlob(blob)
    const answer = await fetch(fileUrl(url, blob.sha256), { headers: { range } })
    expect(answer.status).toBe(status)
    expect(answer.headers.get('content-range')).toBe(contentRange)
    const body = new Uint8Array(await answer.arrayBuffer())
    const [, start = 0, end = 0] = /bytes (\d+)-(\d+)/.exec(contentRange ?? '')?.map(Number) ?? []
    if (status === 206) expect(body).toEqual(bytes.subarray(start, end + 1))
    if (status === 200) expect(body.length).toBe(bytes.length)
  })

  it('conditional requests: 304, 412, If-Range and HEAD (row 232)', async () => {
    const { client, url } = await startServer()
    const blob = blobFromBytes(someBytes(1000))
    await (await client(['blobs:write'])).uploadBlob(blob)
    const at = fileUrl(url, blob.sha256)
    const etag = `"sha256-${blob.sha256}"`
    const status = async (headers: Record<string, string>, method = 'GET') =>
      (await fetch(at, { headers, method })).status
    expect(await status({ 'if-none-match': etag })).toBe(304)
    expect(await status({ 'if-none-match': `"x", W/${etag}` })).toBe(304)
    expect(await status({ 'if-none-match': '*' })).toBe(304)
    expect(await status({ 'if-none-match': '"x"' })).toBe(200)
    expect(await status({ 'if-none-match': `"${'x'.repeat(9000)}"` })).toBe(431)
    expect(await status({ 'if-match': '"x"' })).toBe(412)
    expect(await status({ 'if-match': etag })).toBe(200)
    expect(await status({ range: 'bytes=0-1', 'if-range': etag })).toBe(206)
    expect(await status({ range: 'bytes=0-1', 'if-range': '"x"' })).toBe(200)
    const head = await fetch(at, { method: 'HEAD', headers: { range: 'bytes=0-1' } })
    expect([head.status, head.headers.get('content-length')]).toEqual([200, '1000'])
  })

  it('addresses that do not name a blob are 404 BLOB_NAME, whatever they hide (row 229)', async () => {
    const { url } = await startServer()
    const { port } = new URL(url)
    const raw = (path: string) =>
      new Promise<{ status: number; body: string }>((resolve, reject) => {
        request({ port, path, method: 'GET' }, (answer) => {
          let body = ''
          answer
            .on('data', (part) => {
              body += String(part)
            })
            .on('end', () => resolve({ status: answer.statusCode ?? 0, body }))
        })
          .on('error', reject)
          .end()
      })
    const hash = 'a'.repeat(64)
    const paths = [
      '/files/..%2f..%2fetc%2fpasswd',
      '/blobs/..%2f..%2fetc%2fpasswd',
      '/files/aa/..%5c..%5cx',
      `/files/aa/${hash}%00`,
      '/files/%252e%252e/x',
      `/files/AA/${hash.toUpperCase()}`,
      `/files/aa/${hash.slice(1)}`,
      `/files/ab/${hash}`,
      '/files/../../etc/passwd',
      `/p/x/files/aa/${hash}a`,
    ]
    for (const path of paths) {
      const { status, body } = await raw(path)
      expect([path, status]).toEqual([path, 404])
      expect(JSON.parse(body)).toMatchObject({ code: 'BLOB_NAME' })
    }
    expect(JSON.parse((await raw(`/files/aa/${hash}`)).body)).toMatchObject({ code: 'BLOB_UNKNOWN' })
    expect((await fetch(`${url}/files/aa/${hash}`, { method: 'DELETE' })).status).toBe(405)
  })
})

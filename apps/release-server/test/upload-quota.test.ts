import { ReleaseServerClient } from '@keyturn/release-client'
import { describe, expect, it } from 'vitest'
import { sha256Hex, someBytes, startServer } from './support.ts'

async function scene(quota: number | undefined) {
  const { server, url } = await startServer()
  const { secret, token } = await server.createToken({
    name: 'ci',
    scopes: ['blobs:write'],
    ...(quota === undefined ? {} : { upload_quota: quota }),
  })
  const put = async (bytes: Uint8Array<ArrayBuffer>, name = sha256Hex(bytes)): Promise<number> =>
    (
      await fetch(`${url}/v1/blobs/${name}`, {
        method: 'PUT',
        headers: { authorization: `Bearer ${secret}`, 'content-type': 'application/octet-stream' },
        body: bytes,
      })
    ).status
  const start = async (sha256: string, size: number): Promise<Response> =>
    fetch(`${url}/v1/uploads`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${secret}`,
        'tus-resumable': '1.0.0',
        'upload-length': String(size),
        'upload-metadata': `sha256 ${btoa(sha256)}`,
      },
    })
  return { server, url, token, put, start }
}

describe('the upload quota of a token', () => {
  it('refuses what goes beyond it with UP_QUOTA, stores none of it, and counts a blob once', async () => {
    const { put, start, token, server } = await scene(1000)
    expect(token.upload_quota).toBe(1000)
    const first = someBytes(600)
    expect([await put(first), await put(first)]).toEqual([201, 200])
    const second = someBytes(401)
    expect(await put(second)).toBe(413)
    expect(await server.context.blobs.stat(sha256Hex(second))).toBeUndefined()
    const begun = await start(sha256Hex(someBytes(500)), 500)
    expect([begun.status, await begun.json()]).toMatchObject([413, { code: 'UP_QUOTA' }])
    expect((await start(sha256Hex(someBytes(400)), 400)).status).toBe(201)
    expect(await put(someBytes(1))).toBe(413)
  })

  it('counts a blob that the server puts together in full, since it is stored in full', async () => {
    const { put, server, url } = await scene(1000)
    const part = someBytes(600)
    expect(await put(part)).toBe(201)
    const { secret } = await server.createToken({ name: 'small', scopes: ['blobs:write'], upload_quota: 700 })
    const client = new ReleaseServerClient(url, { token: secret })
    const bytes = new Uint8Array([...part, ...part])
    const target = { sha256: sha256Hex(bytes), size: bytes.length }
    const piece = { sha256: sha256Hex(part), start: 0, length: part.length }
    await expect(client.assembleBlob(target, [piece, piece])).rejects.toMatchObject({ code: 'UP_QUOTA' })
    expect(await server.context.blobs.stat(target.sha256)).toBeUndefined()
  })

  it('is not dodged by announcing less first', async () => {
    const { put } = await scene(1000)
    const large = someBytes(2000)
    expect(await put(someBytes(1), sha256Hex(large))).toBe(422)
    expect(await put(large)).toBe(413)
  })

  it('costs nothing for what somebody else stored, and does not bind other tokens', async () => {
    const { put, server, url } = await scene(0)
    const bytes = someBytes(10)
    expect(await put(bytes)).toBe(413)
    const { secret } = await server.createToken({ name: 'free', scopes: ['blobs:write'] })
    const client = new ReleaseServerClient(url, { token: secret })
    expect(await client.missingBlobs([sha256Hex(bytes)])).toEqual([sha256Hex(bytes)])
    const answer = await fetch(`${url}/v1/blobs/${sha256Hex(bytes)}`, {
      method: 'PUT',
      headers: { authorization: `Bearer ${secret}`, 'content-type': 'application/octet-stream' },
      body: bytes,
    })
    expect(answer.status).toBe(201)
    expect(await put(bytes)).toBe(200)
  })

  it('has to be a number of bytes', async () => {
    const { server } = await startServer()
    for (const quota of [-1, 1.5, Number.NaN])
      await expect(
        server.createToken({ name: 'x', scopes: ['blobs:write'], upload_quota: quota }),
      ).rejects.toMatchObject({ code: 'SRV_REQUEST' })
  })
})

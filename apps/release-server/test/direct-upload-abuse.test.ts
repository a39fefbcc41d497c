import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { blobFromBytes, ReleaseServerClient } from '@keyturn/release-client'
import { openS3BlobStore } from '../src/storage/s3-blob-store.ts'
import { startS3 } from './services.ts'
import type { S3Service } from './services.ts'
import { fileUrl, sha256Hex, someBytes, startServer } from './support.ts'

let s3: S3Service
beforeAll(async () => {
  s3 = await startS3()
})
afterAll(() => s3.stop())

const mib = 1024 * 1024

function bucket(send: typeof fetch = fetch) {
  const url = `${s3.url}/${randomBytes(6).toString('hex')}`
  return openS3BlobStore({ url, region: 'us-east-1', accessKey: s3.accessKey, secretKey: s3.secretKey, fetch: send })
}

interface Presigned {
  readonly upload_id: string
  readonly part_bytes: number
  readonly urls: readonly string[]
}

async function onBucket(send?: typeof fetch) {
  const { url, token, server } = await startServer({ blobs: bucket(send) })
  const authorization = `Bearer ${await token(['blobs:write'])}`
  const post = async (path: string, body: unknown) => {
    const answer = await fetch(url + path, {
      method: 'POST',
      headers: { authorization, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
    return { status: answer.status, body: (await answer.json()) as { code?: string } }
  }
  /** Sends the parts of a direct upload under a name that is given; nothing is completed. */
  const begin = async (name: string, bytes: Uint8Array<ArrayBuffer>) => {
    const presigned = (await post(`/v1/blobs/${name}:presign`, { size: bytes.length })).body as unknown as Presigned
    const etags: string[] = []
    for (const [at, address] of presigned.urls.entries()) {
      const answer = await fetch(address, {
        method: 'PUT',
        body: bytes.slice(at * presigned.part_bytes, (at + 1) * presigned.part_bytes),
      })
      etags.push(answer.headers.get('etag') ?? '')
    }
    return { size: bytes.length, upload_id: presigned.upload_id, etags }
  }
  return { url, token, server, post, begin }
}

describe('direct uploads', () => {
  it('of one blob at the same time cannot replace each other’s bytes between reading back and copying', async () => {
    let held = false
    let atCopy = (): void => undefined
    let goOn = (): void => undefined
    const copying = new Promise<void>((resolve) => {
      atCopy = resolve
    })
    const open = new Promise<void>((resolve) => {
      goOn = resolve
    })
    // The first copy waits until the other upload has been joined.
    const slow: typeof fetch = async (input, init) => {
      const copies = new Headers(init?.headers).has('x-amz-copy-source')
      if (copies && !held) {
        held = true
        atCopy()
        await open
      }
      const answer = await fetch(input, init)
      if (held && init?.method === 'POST' && String(input).includes('uploadId=')) goOn()
      return answer
    }
    const { url, post, begin } = await onBucket(slow)
    const [good, bad] = [someBytes(6 * mib), someBytes(6 * mib)]
    const name = sha256Hex(good)
    const [right, wrong] = [await begin(name, good), await begin(name, bad)]
    const first = post(`/v1/blobs/${name}:complete`, right)
    await copying
    const second = post(`/v1/blobs/${name}:complete`, wrong)
    expect([(await first).status, (await second).body.code]).toEqual([201, 'UP_HASH'])
    expect(sha256Hex(new Uint8Array(await (await fetch(fileUrl(url, name))).arrayBuffer()))).toBe(name)
  })

  it('refuse a copy that failed after the storage answered with success', async () => {
    const failing: typeof fetch = async (input, init) => {
      const copies = new Headers(init?.headers).has('x-amz-copy-source')
      return copies
        ? new Response('<?xml version="1.0"?><Error><Code>InternalError</Code></Error>')
        : fetch(input, init)
    }
    const { post, begin } = await onBucket(failing)
    const bytes = someBytes(6 * mib)
    expect(
      (await post(`/v1/blobs/${sha256Hex(bytes)}:complete`, await begin(sha256Hex(bytes), bytes))).body,
    ).toMatchObject({ code: 'SRV_STORAGE' })
  })

  it('can be completed again: after a lost answer, by two at once, and after the server died between joining and copying', async () => {
    let dying = false
    const mortal: typeof fetch = (input, init) =>
      dying && init?.method !== 'POST' ? Promise.reject(new Error('killed')) : fetch(input, init)
    const { url, token, post, begin } = await onBucket(mortal)
    let lost = 0
    const flaky: typeof fetch = async (input, init) => {
      const answer = await fetch(input, init)
      if (!String(input).endsWith(':complete') || lost++ > 0) return answer
      await answer.arrayBuffer()
      return new Response(null, { status: 504 })
    }
    const client = new ReleaseServerClient(url, { token: await token(['blobs:write']), retryPauseMs: 1, fetch: flaky })
    await client.uploadBlob(blobFromBytes(someBytes(20 * mib)))
    expect(lost).toBe(2)
    const bytes = someBytes(6 * mib)
    const name = sha256Hex(bytes)
    const upload = await begin(name, bytes)
    dying = true
    expect((await post(`/v1/blobs/${name}:complete`, upload)).status).toBeGreaterThanOrEqual(500)
    dying = false
    const both = await Promise.all([0, 1].map(() => post(`/v1/blobs/${name}:complete`, upload)))
    expect(both.map(({ status }) => status)).toEqual([201, 201])
    expect((await post(`/v1/blobs/${name}:complete`, upload)).status).toBe(200)
    expect(
      (await post(`/v1/blobs/${sha256Hex(someBytes(3))}:complete`, { ...upload, upload_id: '../../files' })).body,
    ).toMatchObject({ code: 'UP_UNKNOWN' })
  })

  it('that are given up leave nothing: the client ends them, and the server sweeps the rest', async () => {
    const sent: string[] = []
    const noting: typeof fetch = (input, init) => {
      sent.push(
        `${init?.method} ` +
          `${new URL(String(input)).pathname.replace(/.*\/incoming\/.*/, 'incoming')}${String(input).includes('uploadId=') ? ' part' : ''}`,
      )
      return fetch(input, init)
    }
    const { url, token, begin, post } = await onBucket(noting)
    const client = new ReleaseServerClient(url, { token: await token(['blobs:write']), retryPauseMs: 1 })
    const broken = {
      sha256: 'ab'.repeat(32),
      size: 20 * mib,
      read: () => Promise.reject(new Error('gone from the disk')),
    }
    await expect(client.uploadBlob(broken)).rejects.toThrow('gone from the disk')
    expect(sent.filter((each) => each.startsWith('DELETE'))).toEqual(['DELETE incoming part', 'DELETE incoming'])
    const bytes = someBytes(6 * mib)
    const upload = await begin(sha256Hex(bytes), bytes)
    const abort = (id: string) =>
      fetch(`${url}/v1/blobs/${sha256Hex(bytes)}:abort`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ upload_id: id }),
      })
    expect((await abort(upload.upload_id)).status).toBe(401)
    expect((await post(`/v1/blobs/${sha256Hex(bytes)}:abort`, { upload_id: '../files' })).body).toMatchObject({
      code: 'UP_UNKNOWN',
    })
  })

  it('are swept after a day, not before: joined objects and unfinished ones, of this prefix only', async () => {
    const day = 24 * 60 * 60_000
    const now = Date.now()
    const at = (ago: number) => new Date(now - ago).toISOString()
    const dropped: string[] = []
    const answers: typeof fetch = async (input, init) => {
      const { pathname, searchParams } = new URL(String(input))
      if (init?.method === 'DELETE') {
        dropped.push(`${pathname}${searchParams.has('uploadId') ? `?${searchParams.get('uploadId')}` : ''}`)
        return new Response(null, { status: 204 })
      }
      const unfinished = (key: string, id: string, ago: number): string =>
        `<Upload><Key>${key}</Key><UploadId>${id}</UploadId><Initiated>${at(ago)}</Initiated></Upload>`
      if (searchParams.has('uploads') && !searchParams.has('key-marker'))
        return new Response(
          `<R>${unfinished('p/incoming/x', 'old', day + 1000)}<IsTruncated>true</IsTruncated><NextKeyMarker>p/incoming/x</NextKeyMarker><NextUploadIdMarker>old</NextUploadIdMarker></R>`,
        )
      if (searchParams.has('uploads'))
        return new Response(
          `<R>${unfinished('p/incoming/y', 'young', 1000)}${unfinished('other', 'foreign', 2 * day)}${unfinished('p/files/ab/c', 'put', 2 * day)}</R>`,
        )
      const object = (key: string, ago: number): string =>
        `<Contents><Key>${key}</Key><Size>1</Size><LastModified>${at(ago)}</LastModified></Contents>`
      return new Response(`<R>${object('p/incoming/old', day + 1000)}${object('p/incoming/young', 1000)}</R>`)
    }
    const store = openS3BlobStore({
      url: 'http://s3.example/bucket/p',
      region: 'x',
      accessKey: 'a',
      secretKey: 'b',
      fetch: answers,
      clock: () => now,
    })
    await store.sweep(now - 60 * 60_000)
    expect(dropped).toEqual(['/bucket/p/incoming/old', '/bucket/p/incoming/x?old', '/bucket/p/files/ab/c?put'])
    const without = openS3BlobStore({
      url: 'http://s3.example/bucket/p',
      region: 'x',
      accessKey: 'a',
      secretKey: 'b',
      clock: () => now,
      fetch: async (input) =>
        new URL(String(input)).searchParams.has('uploads')
          ? new Response('', { status: 501 })
          : new Response('<R></R>'),
    })
    await without.sweep(now)
  })
})

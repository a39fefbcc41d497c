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

async function onBucket(fetchOf: (calls: string[]) => typeof fetch) {
  const blobs = openS3BlobStore({
    url: `${s3.url}/${randomBytes(6).toString('hex')}`,
    region: 'us-east-1',
    accessKey: s3.accessKey,
    secretKey: s3.secretKey,
  })
  const { url, token } = await startServer({ blobs })
  const calls: string[] = []
  const client = new ReleaseServerClient(url, {
    token: await token(['blobs:write']),
    retryPauseMs: 1,
    fetch: fetchOf(calls),
  })
  return { url, client, calls }
}

/** Notes what is called, and how. */
const noting =
  (calls: string[], answer?: (url: string) => Response | undefined): typeof fetch =>
  (input, init) => {
    const url = String(input)
    const outside = url.startsWith(s3.url)
    calls.push(
      `${init?.method} ` +
        `${outside ? 'storage' : new URL(url).pathname.replace(/[0-9a-f]{64}/, '<sha>').replace(/uploads\/.+/, 'uploads/<id>')}${new Headers(init?.headers).has('authorization') === outside ? ' WRONG TOKEN' : ''}`,
    )
    return Promise.resolve(answer?.(url) ?? fetch(input, init))
  }

describe('large uploads', () => {
  it(
    'go straight into the bucket by signed addresses, without the token, and are read back before they count',
    { timeout: 300_000 },
    async () => {
      const { url, client, calls } = await onBucket((notes) => noting(notes))
      const bytes = someBytes(20 * 1024 * 1024)
      let sent = 0
      await client.uploadBlob(blobFromBytes(bytes), {
        onProgress: (count) => {
          sent += count
        },
      })
      expect(calls).toEqual([
        'POST /v1/blobs/<sha>:presign',
        'PUT storage',
        'PUT storage',
        'PUT storage',
        'POST /v1/blobs/<sha>:complete',
      ])
      expect(sent).toBe(bytes.length)
      expect(sha256Hex(new Uint8Array(await (await fetch(fileUrl(url, sha256Hex(bytes)))).arrayBuffer()))).toBe(
        sha256Hex(bytes),
      )
      const lying = { ...blobFromBytes(bytes), sha256: sha256Hex(someBytes(9)) }
      await expect(client.uploadBlob(lying)).rejects.toMatchObject({ code: 'UP_HASH', status: 422 })
      expect((await fetch(fileUrl(url, lying.sha256))).status).toBe(404)
    },
  )

  it(
    'go through the server when its storage cannot be reached or is a folder, which is found out once',
    { timeout: 300_000 },
    async () => {
      const refused = (notes: string[]): typeof fetch =>
        noting(notes, (address) => (address.startsWith(s3.url) ? new Response(null, { status: 403 }) : undefined))
      const { url, client, calls } = await onBucket(refused)
      const two = [blobFromBytes(someBytes(17 * 1024 * 1024)), blobFromBytes(someBytes(17 * 1024 * 1024))]
      let sent = 0
      for (const blob of two)
        await client.uploadBlob(blob, {
          onProgress: (count) => {
            sent += count
          },
        })
      expect(sent).toBe(34 * 1024 * 1024)
      expect(calls.filter((call) => call.includes('presign') || call.includes('storage'))).toEqual([
        'POST /v1/blobs/<sha>:presign',
        'PUT storage',
      ])
      for (const { sha256 } of two) expect((await fetch(fileUrl(url, sha256), { method: 'HEAD' })).status).toBe(200)
      const folder = await startServer()
      const calls2: string[] = []
      const onFolder = new ReleaseServerClient(folder.url, {
        token: await folder.token(['blobs:write']),
        fetch: noting(calls2),
      })
      for (const blob of two) await onFolder.uploadBlob(blob)
      expect(calls2.filter((call) => call.includes('presign'))).toHaveLength(1)
      const calls3: string[] = []
      const chosen = new ReleaseServerClient(folder.url, {
        token: await folder.token(['blobs:write']),
        fetch: noting(calls3),
      })
      await chosen.uploadBlob(two[0] ?? blobFromBytes(new Uint8Array(1)), { direct: false })
      expect(calls3.filter((call) => call.includes('presign'))).toEqual([])
      expect([...calls, ...calls2, ...calls3].filter((call) => call.includes('WRONG'))).toEqual([])
    },
  )
})

import { randomBytes } from 'node:crypto'
import { copyFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { blobFromBytes, ReleaseServerClient } from '@keyturn/release-client'
import type { BlobPiece } from '@keyturn/release-client'
import type { BlobStore } from '../src/storage/blob-store.ts'
import { openFolderBlobStore } from '../src/storage/folder-blob-store.ts'
import { openS3BlobStore } from '../src/storage/s3-blob-store.ts'
import { memoryS3 } from './memory-s3.ts'
import { createTokenByCommand, runServer } from './processes.ts'
import { startS3 } from './services.ts'
import type { S3Service } from './services.ts'
import { fileUrl, sha256Hex, someBytes, startServer, temporaryFolder } from './support.ts'

let s3: S3Service
beforeAll(async () => {
  s3 = await startS3()
})
afterAll(() => s3.stop())

type ServerOptions = Parameters<typeof startServer>[0]
const stores: [string, () => ServerOptions | Promise<ServerOptions>][] = [
  ['a folder', () => ({})],
  [
    'a bucket',
    () => ({
      blobs: openS3BlobStore({
        url: `${s3.url}/${randomBytes(6).toString('hex')}`,
        region: 'us-east-1',
        accessKey: s3.accessKey,
        secretKey: s3.secretKey,
      }),
    }),
  ],
]

stores.push(
  ['a bucket that copies parts', () => ({ blobs: openS3BlobStore(memoryS3().settings) })],
  [
    'a folder whose file system clones',
    async () => ({
      blobs: await openFolderBlobStore(await temporaryFolder(), { clone: (from, to) => copyFile(from, to) }),
    }),
  ],
)

const join3 = (...parts: Uint8Array[]): Uint8Array<ArrayBuffer> => new Uint8Array(Buffer.concat(parts))

describe.each(stores)('blobs made of pieces of others, in %s', (_name, options) => {
  /** An old archive, and new bytes to put into it. */
  async function stage() {
    const { url, client, token } = await startServer(await options())
    const publisher = await client(['blobs:write', 'blobs:read'])
    const [old, fresh] = [someBytes(19_000_000), someBytes(70_000)]
    await publisher.uploadBlob(blobFromBytes(old))
    await publisher.uploadBlob(blobFromBytes(fresh))
    const bytes = join3(old.subarray(0, 6_000_001), fresh, old.subarray(6_100_000))
    const target = { sha256: sha256Hex(bytes), size: bytes.length }
    const [from, added] = [sha256Hex(old), sha256Hex(fresh)]
    const pieces: BlobPiece[] = [
      { sha256: from, start: 0, length: 6_000_001 },
      { sha256: added, start: 0, length: 70_000 },
      { sha256: from, start: 6_100_000, length: 12_900_000 },
    ]
    return { url, publisher, token, bytes, target, pieces, old, from }
  }

  it('are stored like any other, and once', { timeout: 300_000 }, async () => {
    const { url, publisher, bytes, target, pieces } = await stage()
    const both = await Promise.all([publisher.assembleBlob(target, pieces), publisher.assembleBlob(target, pieces)])
    expect(both).toEqual([true, true])
    const answer = await fetch(fileUrl(url, target.sha256))
    expect(sha256Hex(new Uint8Array(await answer.arrayBuffer()))).toBe(sha256Hex(bytes))
    expect(await publisher.getBlob(target.sha256)).toMatchObject({ size: bytes.length })
    expect(await publisher.missingBlobs([target.sha256])).toEqual([])
    expect(await publisher.assembleBlob(target, pieces)).toBe(true)
  })

  it('do not fail with the lies of another caller about the same blob', { timeout: 300_000 }, async () => {
    const { publisher, target, pieces } = await stage()
    const lies = publisher.assembleBlob(target, pieces.toReversed())
    const honest = publisher.assembleBlob(target, pieces)
    await expect(lies).rejects.toMatchObject({ code: 'UP_HASH' })
    expect(await honest).toBe(true)
  })

  it('whose pieces lie are not stored', { timeout: 300_000 }, async () => {
    const { url, publisher, target, pieces, from } = await stage()
    const [first, second, third] = pieces as [BlobPiece, BlobPiece, BlobPiece]
    const wrong: [string, BlobPiece[]][] = [
      ['UP_HASH', [third, second, first]],
      ['UP_HASH', [first, second, { ...third, start: third.start - 1 }]],
      ['UP_LENGTH', [first, second]],
      ['UP_LENGTH', [first, second, { ...third, length: third.length + 1 }]],
      ['UP_LENGTH', [{ ...first, length: first.length - 1 }, second, { ...third, length: third.length + 1 }]],
      ['UP_LENGTH', [first, second, { sha256: from, start: Number.MAX_SAFE_INTEGER - 20_000_000, length: 12_900_000 }]],
      ['SRV_REQUEST', [first, second, third, { ...first, length: 0 }]],
      ['BLOB_UNKNOWN', [first, { ...second, sha256: 'ab'.repeat(32) }, third]],
    ]
    for (const [code, lies] of wrong) {
      const refusal = publisher.assembleBlob(target, lies).then(String, (error: unknown) => error)
      expect([code, await refusal]).toMatchObject([code, { code: expect.stringMatching(`${code}|SRV_REQUEST`) }])
      expect((await fetch(fileUrl(url, target.sha256))).status).toBe(404)
    }
    expect(await publisher.missingBlobs([target.sha256])).toEqual([target.sha256])
    expect(await publisher.assembleBlob(target, pieces)).toBe(true)
  })
})

describe('assembling', () => {
  it('is over for a second list of pieces, whose sources are gone, once the blob is stored', async () => {
    const { client } = await startServer()
    const publisher = await client(['blobs:write'])
    const old = someBytes(200_000)
    await publisher.uploadBlob(blobFromBytes(old))
    const made = join3(old.subarray(100_000), old.subarray(0, 100_000))
    const target = { sha256: sha256Hex(made), size: made.length }
    const source = sha256Hex(old)
    const first = publisher.assembleBlob(target, [
      { sha256: source, start: 100_000, length: 100_000 },
      { sha256: source, start: 0, length: 100_000 },
    ])
    const second = publisher.assembleBlob(target, [{ sha256: 'ab'.repeat(32), start: 0, length: target.size }])
    expect(await Promise.all([first, second])).toEqual([true, true])
  })

  it('needs the scope of an upload, and numbers that make pieces', async () => {
    const { url, token } = await startServer()
    const body = { size: 1, sources: ['ab'.repeat(32)], pieces: [0, 0, 1] }
    const post = async (scopes: readonly string[] | undefined, json: object) =>
      fetch(`${url}/v1/blobs/${'cd'.repeat(32)}:assemble`, {
        method: 'POST',
        body: JSON.stringify(json),
        headers: {
          'content-type': 'application/json',
          ...(scopes === undefined ? {} : { authorization: `Bearer ${await token(scopes as never)}` }),
        },
      })
    expect((await post(undefined, body)).status).toBe(401)
    expect((await post(['blobs:read'], body)).status).toBe(403)
    for (const pieces of [[0, 0], [1, 0, 1], [0, 0, 1, 0], [0, -1, 1], [0, 0, 1.5], [], [0, 0, 0]])
      expect([pieces, (await post(['blobs:write'], { ...body, pieces })).status]).toEqual([pieces, 400])
    const unknown = await post(['blobs:write'], body)
    expect([unknown.status, ((await unknown.json()) as { code: string }).code]).toEqual([404, 'BLOB_UNKNOWN'])
  })

  it('is left to whole uploads by a client whose server does not know it', async () => {
    const { url, token } = await startServer()
    const client = new ReleaseServerClient(url, {
      token: await token(['blobs:write']),
      fetch: (input, init) => fetch(String(input).replace(':assemble', ':unheard-of'), init),
    })
    const target = { sha256: 'cd'.repeat(32), size: 1 }
    expect(await client.assembleBlob(target, [{ sha256: 'ab'.repeat(32), start: 0, length: 1 }])).toBe(false)
    const many = Array.from({ length: 10_001 }, () => ({ sha256: 'ab'.repeat(32), start: 0, length: 1 }))
    expect(await client.assembleBlob(target, many)).toBe(false)
  })

  it('that is killed leaves no blob, and succeeds when it is repeated', { timeout: 300_000 }, async () => {
    const environment = { KEYTURN_DATA_DIR: await temporaryFolder() }
    const token = await createTokenByCommand(environment)
    const parts = [someBytes(8_000_000), someBytes(8_000_000), someBytes(8_000_000)]
    let server = await runServer(environment)
    const client = () => new ReleaseServerClient(server.url, { token, retries: 0 })
    for (const part of parts) await client().uploadBlob(blobFromBytes(part))
    const bytes = join3(...parts)
    const target = { sha256: sha256Hex(bytes), size: bytes.length }
    const pieces = parts.map((part) => ({ sha256: sha256Hex(part), start: 0, length: part.length }))
    const folder = join(environment.KEYTURN_DATA_DIR, 'blobs', 'files', target.sha256.slice(0, 2))
    const names = (): Promise<string[]> => readdir(folder).catch(() => [])
    const doomed = client()
      .assembleBlob(target, pieces)
      .catch(() => undefined)
    // The file that is being written says that it has begun.
    while ((await names()).length === 0) await new Promise((resolve) => setImmediate(resolve))
    await server.stop('SIGKILL')
    await doomed
    server = await runServer(environment)
    const present = (await fetch(fileUrl(server.url, target.sha256))).status
    const listed = (await names()).includes(target.sha256)
    expect([404, 200]).toContain(present)
    expect(listed).toBe(present === 200)
    expect(await client().assembleBlob(target, pieces)).toBe(true)
    const answer = await fetch(fileUrl(server.url, target.sha256))
    expect(sha256Hex(new Uint8Array(await answer.arrayBuffer()))).toBe(target.sha256)
    await server.stop('SIGTERM')
  })
})

describe('blobs made of pieces', () => {
  it('wait for each other, sixteen at most; the next is refused (SRV_UNAVAILABLE) (row 384)', async () => {
    const store = await openFolderBlobStore(await temporaryFolder())
    const gate = Promise.withResolvers<void>()
    let isClosed = false
    const blobs = new Proxy(store, {
      get: (target, name) => {
        if (name === 'read')
          return async (...args: Parameters<BlobStore['read']>) => {
            if (isClosed) await gate.promise
            return await target.read(...args)
          }
        const member: unknown = Reflect.get(target, name, target)
        return typeof member === 'function' ? (member.bind(target) as unknown) : member
      },
    })
    const { url, token } = await startServer({ blobs })
    const publisher = new ReleaseServerClient(url, { token: await token(['blobs:write', 'blobs:read']), retries: 0 })
    const old = someBytes(40_000)
    await publisher.uploadBlob(blobFromBytes(old))
    const targets = Array.from({ length: 17 }, (_, at) => old.subarray(at, at + 20_000))
    const assemble = (bytes: Uint8Array, at: number): Promise<boolean> =>
      publisher.assembleBlob({ sha256: sha256Hex(bytes), size: bytes.length }, [
        { sha256: sha256Hex(old), start: at, length: bytes.length },
      ])
    isClosed = true
    const all = Promise.allSettled(targets.map(assemble))
    setTimeout(() => gate.resolve(), 2000)
    const refused = (await all).flatMap((one) => (one.status === 'rejected' ? [one.reason as unknown] : []))
    expect(refused).toMatchObject([{ code: 'SRV_UNAVAILABLE' }])
    for (const [at, bytes] of targets.entries()) expect(await assemble(bytes, at)).toBe(true)
  })
})

import { collectBytes } from '@keyturn/primitives'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openFolderBlobStore } from '../src/storage/folder-blob-store.ts'
import { openPostgresMetadataStore } from '../src/storage/postgres-metadata-store.ts'
import { openS3BlobStore } from '../src/storage/s3-blob-store.ts'
import { openSqliteMetadataStore } from '../src/storage/sqlite-metadata-store.ts'
import { streamOf } from '../src/storage/hashing.ts'
import type { BlobStore, ByteStream } from '../src/storage/blob-store.ts'
import type { MetadataStore } from '../src/storage/metadata-store.ts'
import { freshDatabase, startPostgres, startS3 } from './services.ts'
import type { S3Service, Service } from './services.ts'
import { atEnd, sha256Hex, someBytes, temporaryFolder } from './support.ts'

const readAll = (stream: AsyncIterable<Uint8Array>, most: number) =>
  collectBytes(stream, most, (limit) => new Error(`more than ${limit} bytes`))

let postgres: Service | undefined
let s3: S3Service

beforeAll(async () => {
  ;[postgres, s3] = await Promise.all([startPostgres(), startS3()])
  if (postgres === undefined) console.info('PostgreSQL is not installed: its half of the contract is not run')
})
afterAll(async () => {
  await postgres?.stop()
  await s3?.stop()
})

async function* breaking(...parts: Uint8Array[]): ByteStream {
  yield* parts
  throw new Error('the sender is gone')
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = []
  for await (const item of items) found.push(item)
  return found
}

const blobStores: [string, () => Promise<BlobStore>][] = [
  ['folder', async () => openFolderBlobStore(await temporaryFolder())],
  [
    's3',
    async () =>
      openS3BlobStore({
        url: `${s3.url}/${randomBytes(6).toString('hex')}`,
        region: 'us-east-1',
        accessKey: s3.accessKey,
        secretKey: s3.secretKey,
      }),
  ],
]

describe.each(blobStores)('BlobStore (%s)', (_name, open) => {
  const uploadId = (): string => randomBytes(12).toString('base64url')

  it.each([0, 1, 70_000, 20 * 1024 * 1024 + 7])('put and read %i bytes, whole and in ranges', async (size) => {
    const store = await open()
    const bytes = someBytes(size)
    const name = sha256Hex(bytes)
    expect(await store.stat(name)).toBeUndefined()
    expect(
      await store.put(name, streamOf(bytes.subarray(0, size >> 1), bytes.subarray(size >> 1)), { size }),
    ).toMatchObject({ sha256: name, size })
    expect(sha256Hex(await readAll(await store.read(name), size))).toBe(name)
    if (size > 1)
      expect(sha256Hex(await readAll(await store.read(name, { start: 1, end: size - 1 }), size))).toBe(
        sha256Hex(bytes.subarray(1)),
      )
    expect((await all(store.list())).map(({ sha256 }) => sha256)).toEqual([name])
    await store.delete(name)
    await store.delete(name)
    expect(await store.stat(name)).toBeUndefined()
    await expect(store.read(name)).rejects.toMatchObject({ code: 'BLOB_UNKNOWN' })
  })

  it.each([1000, 20 * 1024 * 1024])('put of %i wrong, short, long or broken bytes leaves nothing', async (size) => {
    const store = await open()
    const bytes = someBytes(size)
    const name = sha256Hex(bytes)
    await expect(store.put(sha256Hex(someBytes(5)), streamOf(bytes))).rejects.toMatchObject({ code: 'UP_HASH' })
    await expect(store.put(name, streamOf(bytes.subarray(1)), { size })).rejects.toMatchObject({ code: 'UP_LENGTH' })
    await expect(store.put(name, streamOf(bytes, bytes), { size })).rejects.toMatchObject({ code: 'UP_LENGTH' })
    await expect(store.put(name, breaking(bytes), { size })).rejects.toThrow()
    expect(await all(store.list())).toEqual([])
  })

  it('put twice at once gives one blob (row 238)', async () => {
    const store = await open()
    const bytes = someBytes(500_000)
    const name = sha256Hex(bytes)
    await Promise.all([store.put(name, streamOf(bytes)), store.put(name, streamOf(bytes))])
    expect(sha256Hex(await readAll(await store.read(name), bytes.length))).toBe(name)
  })

  it('append keeps what was received before a break, continues there, and finish makes the blob', async () => {
    const store = await open()
    const bytes = someBytes(18 * 1024 * 1024)
    const [name, id] = [sha256Hex(bytes), uploadId()]
    expect(await store.append(id, 0, breaking(bytes.subarray(0, 100_000)), bytes.length)).toBe(100_000)
    expect(await store.append(id, 100_000, streamOf(bytes.subarray(100_000, 10_000_000)), bytes.length)).toBe(
      10_000_000,
    )
    // The server forgot the last answer: the same bytes come again, from an older offset.
    expect(await store.append(id, 100_000, streamOf(bytes.subarray(100_000, 12_000_000)), bytes.length)).toBe(
      12_000_000,
    )
    await expect(store.append(id, 12_000_000, streamOf(bytes), bytes.length)).rejects.toMatchObject({
      code: 'UP_LENGTH',
    })
    expect(await store.append(id, 12_000_000, streamOf(bytes.subarray(12_000_000)), bytes.length)).toBe(bytes.length)
    expect((await all(store.listUploads())).map((upload) => upload.id)).toEqual([id])
    expect(await store.finish(id, name, bytes.length)).toMatchObject({ sha256: name, size: bytes.length })
    expect(sha256Hex(await readAll(await store.read(name), bytes.length))).toBe(name)
    expect(await all(store.listUploads())).toEqual([])
  })

  it('finish of wrong bytes drops the upload', async () => {
    const store = await open()
    const id = uploadId()
    await store.append(id, 0, streamOf(someBytes(100)), 100)
    await expect(store.finish(id, sha256Hex(someBytes(3)), 100)).rejects.toMatchObject({ code: 'UP_HASH' })
    expect(await all(store.listUploads())).toEqual([])
    expect(await all(store.list())).toEqual([])
  })

  it('quarantine hides a blob from readers', async () => {
    const store = await open()
    const bytes = someBytes(100)
    await store.put(sha256Hex(bytes), streamOf(bytes))
    await store.quarantine(sha256Hex(bytes))
    expect(await store.stat(sha256Hex(bytes))).toBeUndefined()
  })

  it('names that are not a hash never reach the storage', async () => {
    const store = await open()
    for (const name of ['../../etc/passwd', 'A'.repeat(64), 'a'.repeat(63), '']) {
      await expect(store.stat(name)).rejects.toMatchObject({ code: 'BLOB_NAME' })
    }
    await expect(store.append('../x', 0, streamOf(), 1)).rejects.toMatchObject({ code: 'UP_UNKNOWN' })
    await store.ping()
  })
})

describe('BlobStore (s3), straight into the storage', () => {
  it('presigned parts become a blob after they are read back; wrong bytes do not', async () => {
    const store = openS3BlobStore({
      url: `${s3.url}/presigned`,
      region: 'us-east-1',
      accessKey: s3.accessKey,
      secretKey: s3.secretKey,
    })
    const bytes = someBytes(9 * 1024 * 1024)
    for (const good of [true, false]) {
      const name = good ? sha256Hex(bytes) : sha256Hex(someBytes(8))
      const upload = await store.presign?.(name, bytes.length)
      const etags: string[] = []
      for (const [at, url] of upload?.urls.entries() ?? []) {
        const start = at * (upload?.partBytes ?? 0)
        const answer = await fetch(url, { method: 'PUT', body: bytes.slice(start, start + (upload?.partBytes ?? 0)) })
        expect(answer.status).toBe(200)
        etags.push(answer.headers.get('etag') ?? '')
      }
      const done = store.completePresigned?.(name, bytes.length, upload?.uploadId ?? '', etags)
      if (good) expect(await done).toMatchObject({ size: bytes.length })
      else await expect(done).rejects.toMatchObject({ code: 'UP_HASH' })
      expect(await store.stat(name)).toEqual(good ? expect.objectContaining({ size: bytes.length }) : undefined)
    }
  })
})

const metadataStores: [string, () => Promise<MetadataStore | undefined>][] = [
  ['sqlite', async () => openSqliteMetadataStore(join(await temporaryFolder(), 'metadata.sqlite'))],
  [
    'postgres',
    async () => (postgres === undefined ? undefined : openPostgresMetadataStore(await freshDatabase(postgres.url))),
  ],
]

describe.each(metadataStores)('MetadataStore (%s)', (_name, open) => {
  const check = (name: string, work: (store: MetadataStore) => Promise<void>): void =>
    it(name, async (context) => {
      const store = await open()
      if (store === undefined) return context.skip()
      atEnd(() => store.close())
      await work(store)
    })

  check('put, get, getMany, list in byte order, delete', async (store) => {
    const keys = ['a/1', 'a/10', 'a/2', 'a/ä', 'a/😀', 'b/1', 'A/1']
    await store.transaction([], async (records) => {
      await records.put('things', ...keys.map((key) => ({ key, value: { key }, body: new TextEncoder().encode(key) })))
    })
    expect((await store.get('things', 'a/ä'))?.value).toEqual({ key: 'a/ä' })
    expect((await store.get('things', 'a/ä'))?.body).toEqual(new TextEncoder().encode('a/ä'))
    expect(await store.get('things', 'none')).toBeUndefined()
    expect((await store.getMany('things', ['a/1', 'b/1', 'none'])).map(({ key }) => key).toSorted()).toEqual([
      'a/1',
      'b/1',
    ])
    const list = async (query: Parameters<MetadataStore['list']>[1]) =>
      (await store.list('things', query)).map(({ key }) => key)
    expect(await list({ prefix: 'a/' })).toEqual(['a/1', 'a/10', 'a/2', 'a/ä', 'a/😀'])
    expect(await list({})).toEqual(['A/1', 'a/1', 'a/10', 'a/2', 'a/ä', 'a/😀', 'b/1'])
    expect(await list({ prefix: 'a/', after: 'a/10', limit: 2 })).toEqual(['a/2', 'a/ä'])
    expect(await list({ prefix: 'a/', reverse: true, limit: 2 })).toEqual(['a/😀', 'a/ä'])
    expect(await list({ prefix: 'a/', reverse: true, after: 'a/2' })).toEqual(['a/10', 'a/1'])
    expect(await list({ after: 'b/1' })).toEqual([])
    expect((await store.list('things', { bodies: true, limit: 1 }))[0]?.body).toBeDefined()
    await store.transaction([], async (records) => records.delete('things', 'a/1', 'none'))
    expect(await store.get('things', 'a/1')).toBeUndefined()
    expect(await store.collections()).toEqual(['things'])
  })

  check('a transaction that throws leaves nothing and tells nobody', async (store) => {
    const told: string[] = []
    store.subscribe((topic, text) => told.push(`${topic} ${text}`))
    await expect(
      store.transaction(['x'], async (records) => {
        await records.put('things', { key: 'k', value: 1 })
        await records.notify('gone', 'k')
        throw new Error('no')
      }),
    ).rejects.toThrow('no')
    expect(await store.get('things', 'k')).toBeUndefined()
    await store.transaction(['x'], async (records) => {
      await records.put('things', { key: 'k', value: 1 })
      await records.notify('done', 'k ✓')
      expect((await records.get('things', 'k'))?.value).toBe(1)
    })
    await expect.poll(() => told, { timeout: 30_000 }).toEqual(['done k ✓'])
  })

  check('insert writes only where nothing is', async (store) => {
    const insert = (value: number) =>
      store.transaction([], (records) => records.insert('things', { key: 'one', value }))
    expect([await insert(1), await insert(2)]).toEqual([true, false])
    expect((await store.get('things', 'one'))?.value).toBe(1)
  })

  check('transactions under one lock run one after the other', async (store) => {
    const add = () =>
      store.transaction(['counter', 'another'], async (records) => {
        const count = ((await records.get('things', 'count'))?.value as number | undefined) ?? 0
        await new Promise((resolve) => setTimeout(resolve, 1))
        await records.put('things', { key: 'count', value: count + 1 })
      })
    await Promise.all(Array.from({ length: 40 }, add))
    expect((await store.get('things', 'count'))?.value).toBe(40)
  })

  check('readers never see half a transaction', async (store) => {
    const write = (value: number) =>
      store.transaction(['pair'], async (records) => {
        await records.put('things', { key: 'left', value })
        await new Promise((resolve) => setTimeout(resolve, 2))
        await records.put('things', { key: 'right', value })
      })
    await write(0)
    let running = true
    const reader = (async () => {
      while (running) {
        const [one, two] = (await store.getMany('things', ['left', 'right'])).map(({ value }) => value)
        expect(one).toBe(two)
        await new Promise((resolve) => setImmediate(resolve))
      }
    })()
    for (let value = 1; value <= 30; value++) await write(value)
    running = false
    await reader
  })

  check('10,000 records in one write and one query', async (store) => {
    const keys = Array.from({ length: 10_000 }, (_, at) => sha256Hex(new Uint8Array([at & 255, at >> 8])))
    await store.transaction([], async (records) =>
      records.put('many', ...keys.map((key) => ({ key, value: { size: 1 } }))),
    )
    expect(await store.getMany('many', keys)).toHaveLength(10_000)
    await store.ping()
  })
})

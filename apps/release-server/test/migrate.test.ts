import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { writeFile } from 'node:fs/promises'
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { RuntimeKey, writeRuntimeKeyBlob } from '@keyturn/runtime-key'
import { ed25519PublicKey, systemRandom, utf8Encode } from '@keyturn/primitives'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { verifyStoredAudit } from '../src/audit/audit.ts'
import { migrate } from '../src/storage/migrate.ts'
import type { Stores } from '../src/storage/migrate.ts'
import { runtimeKeyCell } from '../src/keys/exchange.ts'
import { openServerVault } from '../src/keys/server-vault.ts'
import type { BlobStore, ByteStream } from '../src/storage/blob-store.ts'
import { openFolderBlobStore } from '../src/storage/folder-blob-store.ts'
import { openPostgresMetadataStore } from '../src/storage/postgres-metadata-store.ts'
import { openS3BlobStore } from '../src/storage/s3-blob-store.ts'
import { openSqliteMetadataStore } from '../src/storage/sqlite-metadata-store.ts'
import { blobFromBytes, ReleaseServerClient } from '@keyturn/release-client'
import { MAIN } from './processes.ts'
import { seedOf, TestPublisher } from './publisher.ts'
import { freshDatabase, startPostgres, startS3 } from './services.ts'
import type { S3Service, Service } from './services.ts'
import { atEnd, fileUrl, sha256Hex, someBytes, startServer, temporaryFolder } from './support.ts'

const run = promisify(execFile)
const vault = { passphrase: 'x', scryptLogN: 4 }

let postgres: Service | undefined
let s3: S3Service
beforeAll(async () => {
  ;[postgres, s3] = await Promise.all([startPostgres(), startS3()])
  if (postgres === undefined) console.info('PostgreSQL is not installed: nothing is moved to it')
})
afterAll(async () => {
  await postgres?.stop()
  await s3.stop()
})

async function* cut(source: ByteStream): ByteStream {
  for await (const part of source) {
    yield part.subarray(0, 1)
    throw new Error('the line is cut')
  }
}

const shared = async (): Promise<Stores> => ({
  metadata: await openPostgresMetadataStore(await freshDatabase(postgres?.url ?? '')),
  blobs: openS3BlobStore({
    url: `${s3.url}/${randomBytes(6).toString('hex')}`,
    region: 'us-east-1',
    accessKey: s3.accessKey,
    secretKey: s3.secretKey,
  }),
})
const embedded = async (): Promise<Stores> => {
  const folder = await temporaryFolder()
  return { blobs: await openFolderBlobStore(folder), metadata: openSqliteMetadataStore(join(folder, 'm.sqlite')) }
}

it(
  'a server moves from folder and SQLite to S3 and PostgreSQL and back, through breaks, and goes on where it was',
  { timeout: 300_000 },
  async (context) => {
    if (postgres === undefined) return context.skip()
    const first = await startServer({ vault })
    const client = await first.client(['admin'])
    const token = await first.token(['admin'])
    const publisher = await TestPublisher.create()
    await publisher.introduce(client)
    const release = await publisher.release({ 'a.txt': utf8Encode('a'), 'b.bin': someBytes(9 * 1024 * 1024) })
    await publisher.publish(client, release)
    const key = writeRuntimeKeyBlob(
      RuntimeKey.take({ keyId: 4, masterKey: someBytes(32), signPublicKey: ed25519PublicKey(seedOf('verifier')) }),
    )
    await client.putRuntimeKey('metin2', 4, key)
    const spare = blobFromBytes(someBytes(1000))
    await client.uploadBlob(spare)

    // Broken off after two blobs, and something went from the source in between.
    const there = await shared()
    let puts = 0
    const put: BlobStore['put'] = async (name, source, options) => {
      puts += 1
      return there.blobs.put(name, puts > 2 ? cut(source) : source, options)
    }
    const blobs = { put, stat: (name: string) => there.blobs.stat(name) } as BlobStore
    await expect(migrate(first.server.context, { ...there, blobs })).rejects.toThrow('the line is cut')
    expect(await migrate(first.server.context, there)).toMatchObject({ blobs: 5, blobsCopied: 3 })
    await first.server.context.metadata.transaction([], (records) => records.delete('blobs', spare.sha256))
    await first.server.context.blobs.delete(spare.sha256)
    expect(await migrate(first.server.context, there)).toMatchObject({ blobs: 4, blobsCopied: 0 })
    expect(await there.metadata.get('blobs', spare.sha256)).toBeUndefined()
    await first.server.close()

    // The copy serves what was there, knows its tokens and its vault, and takes the next release.
    const second = await startServer({ blobs: there.blobs, metadata: there.metadata, vault })
    const moved = new ReleaseServerClient(second.url, { token })
    expect((await fetch(`${second.url}/manifest.json`)).headers.get('etag')).toBe(`"sha256-${release.pin.sha256}"`)
    const next = await publisher.release({ 'a.txt': utf8Encode('a'), 'c.bin': someBytes(100_000) })
    await publisher.publish(moved, next)
    expect(await verifyStoredAudit(there.metadata)).toBeGreaterThan(6)
    expect(await moved.checkRelease('metin2', 'stable', release.model.version)).toMatchObject({ sound: true })

    const back = await embedded()
    // Bytes of a blob that is recorded nowhere are carried along; fsck would record them, garbage collection take them.
    expect(await migrate(second.server.context, back)).toMatchObject({ blobs: 7, blobsCopied: 7 })
    await second.server.close()
    const third = await startServer({ blobs: back.blobs, metadata: back.metadata, vault })
    expect((await fetch(`${third.url}/manifest.json`)).headers.get('etag')).toBe(`"sha256-${next.pin.sha256}"`)
    for (const { sha256 } of next.blobs)
      expect(sha256Hex(new Uint8Array(await (await fetch(fileUrl(third.url, sha256))).arrayBuffer()))).toBe(sha256)
    const again = new ReleaseServerClient(third.url, { token })
    await publisher.publish(again, await publisher.release({ 'a.txt': utf8Encode('b') }))
    const opened = await runtimeKeyCell(await openServerVault(back.metadata, vault, systemRandom), 'metin2').open('4')
    expect(Buffer.from(opened).equals(Buffer.from(key))).toBe(true)
  },
)

it('keyturn-server migrate moves by two settings files, both ways', { timeout: 300_000 }, async (context) => {
  if (postgres === undefined) return context.skip()
  const source = await startServer()
  const publisher = await TestPublisher.create()
  const client = await source.client(['admin'])
  await publisher.introduce(client)
  const release = await publisher.release({ 'a.txt': utf8Encode('a') })
  await publisher.publish(client, release)
  await source.server.close()
  const folder = await temporaryFolder()
  await writeFile(join(folder, 'secret'), s3.secretKey)
  const settings = async (name: string, values: object): Promise<string> => {
    await writeFile(join(folder, name), JSON.stringify(values))
    return join(folder, name)
  }
  const cluster = await settings('cluster.json', {
    KEYTURN_DATABASE_URL: await freshDatabase(postgres.url),
    KEYTURN_S3_URL: `${s3.url}/command`,
    KEYTURN_S3_ACCESS_KEY: s3.accessKey,
    KEYTURN_S3_SECRET_KEY_FILE: join(folder, 'secret'),
  })
  const one = await settings('one.json', { KEYTURN_DATA_DIR: source.dataDir })
  const home = await settings('home.json', { KEYTURN_DATA_DIR: join(folder, 'home') })
  const move = async (from: string, to: string): Promise<object> => {
    const { stdout } = await run(
      process.execPath,
      ['--no-warnings', MAIN, '--json', '--config', from, 'migrate', '--to', to],
      { env: { PATH: process.env['PATH'] ?? '' } },
    )
    return (JSON.parse(stdout) as { data: object }).data
  }
  expect(await move(one, cluster)).toMatchObject({ blobs: 3, blobsCopied: 3 })
  expect(await move(one, cluster)).toMatchObject({ blobs: 3, blobsCopied: 0 })
  expect(await move(cluster, home)).toMatchObject({ blobs: 3, blobsCopied: 3 })
  const restored = await startServer({ dataDir: join(folder, 'home') })
  atEnd(() => restored.server.close())
  expect((await fetch(`${restored.url}/manifest.json`)).headers.get('etag')).toBe(`"sha256-${release.pin.sha256}"`)
})

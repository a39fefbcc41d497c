import { randomBytes } from 'node:crypto'
import { readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { writeChunkIndex } from '@keyturn/manifest/delta'
import { nodeFileSystem } from '@keyturn/primitives/node'
import type { FileSystem } from '@keyturn/primitives/node'
import { faultFileSystem } from '@keyturn/primitives/testing'
import { coolReleases } from '../src/releases/cool.ts'
import { checkStores } from '../src/releases/fsck.ts'
import { openFolderBlobStore } from '../src/storage/folder-blob-store.ts'
import { streamOf } from '../src/storage/hashing.ts'
import type { BlobStore } from '../src/storage/blob-store.ts'
import { indexOf, TestPublisher } from './publisher.ts'
import { fileUrl, sha256Hex, startServer, temporaryFolder } from './support.ts'

const MIB = 1024 * 1024
const caller = { actor: 'test', requestId: 'test' }

async function bytesOf(store: BlobStore, sha256: string, range?: { start: number; end: number }): Promise<Buffer> {
  const parts: Uint8Array[] = []
  for await (const part of await store.read(sha256, range)) parts.push(part)
  return Buffer.concat(parts)
}

async function filesIn(folder: string): Promise<string[]> {
  const names = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => [])
  return names.filter((entry) => entry.isFile()).map(({ name }) => name)
}

/** Two versions of a file that differ in a few bytes in the middle. */
function versions(size = 2 * MIB): [Buffer, Buffer] {
  const first = randomBytes(size)
  const second = Buffer.concat([first.subarray(0, size / 2), randomBytes(100), first.subarray(size / 2)])
  return [first, second]
}

async function stored(root: string, blobs: readonly Buffer[], fs: FileSystem = nodeFileSystem): Promise<BlobStore> {
  const store = await openFolderBlobStore(root, { fs })
  for (const bytes of blobs) await store.put(sha256Hex(bytes), streamOf(bytes))
  return store
}

describe('a blob that is stored as chunks', () => {
  it('reads as it did, whole and in ranges, and shares chunks with others', async () => {
    const root = await temporaryFolder()
    const blobs = versions()
    const store = await stored(root, blobs)
    const freed: (number | undefined)[] = []
    for (const bytes of blobs) freed.push(await store.cool?.(sha256Hex(bytes), indexOf(bytes)))
    expect(freed[0]).toBe(0)
    expect(freed[1]).toBeGreaterThan(MIB)
    expect(await filesIn(join(root, 'files'))).toEqual([])
    const listed: string[] = []
    for await (const { sha256 } of store.list()) listed.push(sha256)
    expect(listed).toEqual(blobs.map(sha256Hex).toSorted())
    for (const bytes of blobs) {
      const name = sha256Hex(bytes)
      expect(await store.stat(name)).toMatchObject({ size: bytes.length })
      expect((await bytesOf(store, name)).equals(bytes)).toBe(true)
      for (let turn = 0; turn < 50; turn += 1) {
        const start = Math.floor(Math.random() * bytes.length)
        const end = Math.min(bytes.length - 1, start + Math.floor(Math.random() * 300_000))
        expect((await bytesOf(store, name, { start, end })).equals(bytes.subarray(start, end + 1))).toBe(true)
      }
    }
  })

  it('can be the source of others, be deleted, and leaves no chunk that nobody needs', async () => {
    const root = await temporaryFolder()
    const [first, second] = versions()
    const store = await stored(root, [first, second])
    for (const bytes of [first, second]) await store.cool?.(sha256Hex(bytes), indexOf(bytes))
    const part = first.subarray(1000, MIB)
    await store.assemble(sha256Hex(part), part.length, [{ sha256: sha256Hex(first), start: 1000, length: MIB - 1000 }])
    expect((await bytesOf(store, sha256Hex(part))).equals(part)).toBe(true)
    await store.delete(sha256Hex(first))
    expect(await store.stat(sha256Hex(first))).toBeUndefined()
    await store.sweepChunks?.(Date.now() + 1000)
    expect((await bytesOf(store, sha256Hex(second))).equals(second)).toBe(true)
    await store.delete(sha256Hex(second))
    expect(await store.sweepChunks?.(Date.now() - 60_000)).toBe(0)
    await store.sweepChunks?.(Date.now() + 1000)
    expect(await filesIn(join(root, 'cold'))).toEqual([])
  })

  it('gets its file back for a proxy: once for all who ask', async () => {
    const root = await temporaryFolder()
    const [bytes] = versions()
    const name = sha256Hex(bytes)
    const store = await stored(root, [bytes])
    await store.cool?.(name, indexOf(bytes))
    await Promise.all([store.warm?.(name), store.warm?.(name), store.warm?.(name)])
    expect((await readFile(store.localPath?.(name) ?? '')).equals(bytes)).toBe(true)
    await expect(store.warm?.('ab'.repeat(32))).rejects.toMatchObject({ code: 'BLOB_UNKNOWN' })
    expect(await store.cool?.(name, indexOf(bytes))).toBe(bytes.length)
  })

  it('waits for its file when two others are made, and gets it when they are done', async () => {
    const root = await temporaryFolder()
    const blobs = [...versions(MIB), randomBytes(MIB)]
    const gate = Promise.withResolvers<void>()
    let isGated = false
    const rename: FileSystem['rename'] = async (from, to) => {
      if (isGated) await gate.promise
      await nodeFileSystem.rename(from, to)
    }
    const store = await stored(root, blobs, { ...nodeFileSystem, rename })
    for (const bytes of blobs) await store.cool?.(sha256Hex(bytes), indexOf(bytes))
    isGated = true
    const makes = blobs.map((bytes) => store.warm?.(sha256Hex(bytes)))
    const ends = makes.map(async (made) => await made?.then(String, ({ code }: { code: string }) => code))
    expect(await Promise.race(ends)).toBe('SRV_UNAVAILABLE')
    gate.resolve()
    expect((await Promise.all(ends)).toSorted()).toEqual(['SRV_UNAVAILABLE', 'undefined', 'undefined'])
    for (const bytes of blobs) {
      await store.warm?.(sha256Hex(bytes))
      expect((await readFile(store.localPath?.(sha256Hex(bytes)) ?? '')).equals(bytes)).toBe(true)
    }
  })

  it('stays whole when the index is of other bytes, or its own are damaged', async () => {
    const root = await temporaryFolder()
    const [first, second] = versions()
    const store = await stored(root, [first])
    const name = sha256Hex(first)
    expect(await store.cool?.(name, indexOf(second))).toBeUndefined()
    await expect(store.cool?.(name, randomBytes(100))).rejects.toMatchObject({ code: 'MAN_INDEX' })
    const damaged = Buffer.from(first)
    damaged.writeUInt8(damaged.readUInt8(MIB) ^ 1, MIB)
    await writeFile(store.localPath?.(name) ?? '', damaged)
    expect(await store.cool?.(name, indexOf(first))).toBeUndefined()
    expect((await stat(store.localPath?.(name) ?? '')).size).toBe(first.length)
  })

  it.each([
    ['of one chunk that would be read whole for each byte', 8 * MIB, 8 * MIB],
    ['of more chunks than a disk should have files', 64, 300_000],
  ])('stays whole when its index is %s', async (_name, length, size) => {
    const root = await temporaryFolder()
    const bytes = randomBytes(size)
    const store = await stored(root, [bytes])
    const lengths = Uint32Array.from({ length: Math.ceil(size / length) }, (_, at) =>
      Math.min(length, size - at * length),
    )
    const digests = Buffer.concat(
      Array.from(lengths, (_, at) => Buffer.from(sha256Hex(bytes.subarray(at * length, (at + 1) * length)), 'hex')),
    )
    const blobSha256 = Buffer.from(sha256Hex(bytes), 'hex')
    const lie = writeChunkIndex({ params: 1, blobBytes: size, blobSha256, lengths, digests })
    expect(await store.cool?.(sha256Hex(bytes), lie)).toBeUndefined()
    expect(await filesIn(join(root, 'cold'))).toEqual([])
    expect((await stat(store.localPath?.(sha256Hex(bytes)) ?? '')).size).toBe(size)
  })

  it('whose chunk is damaged or gone gives no wrong byte: BLOB_CORRUPT; set aside, it is missing', async () => {
    const root = await temporaryFolder()
    const [first] = versions()
    const name = sha256Hex(first)
    const store = await stored(root, [first])
    await store.cool?.(name, indexOf(first))
    const chunks = join(root, 'cold', 'chunks')
    const [one = ''] = (await readdir(chunks, { recursive: true })).filter((path) => path.length > 10)
    await writeFile(join(chunks, one), randomBytes(100))
    await expect(bytesOf(store, name)).rejects.toMatchObject({ code: 'BLOB_CORRUPT' })
    await rm(join(chunks, one))
    await expect(bytesOf(store, name)).rejects.toMatchObject({ code: 'BLOB_CORRUPT' })
    await store.quarantine(name)
    expect(await store.stat(name)).toBeUndefined()
    await store.put(name, streamOf(first))
    expect(await store.cool?.(name, indexOf(first))).toBeGreaterThan(0)
    expect((await bytesOf(store, name)).equals(first)).toBe(true)
  })

  it(
    'is never lost, wherever the process is killed while it is cooled, made whole, or swept',
    { timeout: 300_000 },
    async () => {
      const blobs = versions(MIB)
      const [first, second] = blobs
      const steps: [string, (store: BlobStore) => Promise<unknown>][] = [
        ['cool', (store) => store.cool?.(sha256Hex(second), indexOf(second)) ?? Promise.resolve()],
        ['warm', (store) => store.warm?.(sha256Hex(first)) ?? Promise.resolve()],
        ['delete', (store) => store.delete(sha256Hex(first))],
        ['sweep', (store) => store.sweepChunks?.(Date.now() + 60_000) ?? Promise.resolve()],
      ]
      let kills = 0
      for (const [what, step] of steps) {
        for (let at = 0; ; at += 1) {
          const root = await temporaryFolder()
          const calm = await stored(root, blobs)
          await calm.cool?.(sha256Hex(first), indexOf(first))
          if (what === 'sweep') await calm.delete(sha256Hex(first))
          const fs = faultFileSystem({ plan: { at, mode: 'crash' } })
          await (async () => step(await openFolderBlobStore(root, { fs })))().catch(() => undefined)
          const after = await openFolderBlobStore(root)
          const kept = what === 'delete' || what === 'sweep' ? [second] : blobs
          for (const bytes of kept) expect((await bytesOf(after, sha256Hex(bytes))).equals(bytes)).toBe(true)
          await step(after)
          for (const bytes of kept) expect((await bytesOf(after, sha256Hex(bytes))).equals(bytes)).toBe(true)
          await rm(root, { recursive: true })
          if (!fs.fired) break
          kills += 1
        }
      }
      expect(kills).toBeGreaterThan(20)
    },
  )
})

describe('a server that keeps one release whole', () => {
  it('serves the others from chunks; garbage collection and checks know both', { timeout: 300_000 }, async () => {
    const running = await startServer()
    const { context } = running.server
    const client = await running.client(['admin'])
    const publisher = await TestPublisher.create()
    await publisher.introduce(client)
    let data = randomBytes(3 * MIB)
    const releases = []
    for (let number = 0; number < 4; number += 1) {
      const release = await publisher.release({ 'data.pak': data }, { indexed: true })
      await publisher.publish(client, release)
      releases.push({ release, data })
      data = Buffer.from(data)
      randomBytes(1000).copy(data, number * 500_000 + 100_000)
    }
    const report = await coolReleases(context, 1)
    expect(report.blobs).toBe(3)
    expect(report.bytesFreed).toBeGreaterThan(5 * MIB)
    for (const { release, data: bytes } of releases) {
      const url = fileUrl(running.url, release.blobs[0]?.sha256 ?? '')
      const answer = await fetch(url)
      expect(answer.headers.get('content-length')).toBe(String(bytes.length))
      expect(Buffer.from(await answer.arrayBuffer()).equals(bytes)).toBe(true)
      const part = await fetch(url, { headers: { range: 'bytes=1000000-2000000' } })
      expect([part.status, Buffer.from(await part.arrayBuffer()).equals(bytes.subarray(1_000_000, 2_000_001))]).toEqual(
        [206, true],
      )
      expect((await fetch(url, { method: 'HEAD' })).headers.get('content-length')).toBe(String(bytes.length))
    }
    expect(await checkStores(context, {}, caller)).toMatchObject({ damaged: [], lost: [], adopted: [], broken: [] })
    expect(await coolReleases(context, 1)).toMatchObject({ blobs: 0 })
    expect(await client.collectGarbage({ dryRun: false })).toMatchObject({ blobs_deleted: 0 })
    // The newest is whole: a proxy finds its file.
    const newest = releases.at(-1)?.release.blobs[0]?.sha256 ?? ''
    expect((await stat(context.blobs.localPath?.(newest) ?? '')).size).toBe(3 * MIB)
  })

  it('makes a file whole before a proxy is asked to send it', async () => {
    const running = await startServer({ offload: { kind: 'accel', prefix: '/internal' } })
    const client = await running.client(['admin'])
    const publisher = await TestPublisher.create()
    await publisher.introduce(client)
    const [first, second] = versions()
    const old = await publisher.release({ 'data.pak': first }, { indexed: true })
    await publisher.publish(client, old)
    await publisher.publish(client, await publisher.release({ 'data.pak': second }, { indexed: true }))
    await coolReleases(running.server.context, 1)
    const name = sha256Hex(first)
    const path = running.server.context.blobs.localPath?.(name) ?? ''
    await expect(stat(path)).rejects.toMatchObject({ code: 'ENOENT' })
    expect((await fetch(fileUrl(running.url, name))).headers.get('x-accel-redirect')).toContain(name)
    expect((await readFile(path)).equals(first)).toBe(true)
    // The path is made of the setting and the name that was checked; nothing else of the request is in it.
    const asked = await fetch(`${fileUrl(running.url, name)}?x=/../secret`, {
      headers: { 'x-accel-redirect': '/secret', range: 'bytes=0-9' },
    })
    expect([asked.status, asked.headers.get('x-accel-redirect')]).toEqual([
      200,
      `/internal/${name.slice(0, 2)}/${name}`,
    ])
    const without = await startServer()
    const answer = await fetch(fileUrl(without.url, name))
    expect([answer.status, answer.headers.get('x-accel-redirect')]).toEqual([404, null])
    for (const document of ['/manifest.json', '/head.json', `/files/00/${'0'.repeat(64)}`, '/files/../x'])
      expect((await fetch(running.url + document)).headers.get('x-accel-redirect')).toBeNull()
    expect(old.blobs).toHaveLength(3)
  })
})

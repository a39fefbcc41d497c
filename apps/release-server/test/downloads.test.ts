import { utf8Encode } from '@keyturn/primitives'
import { blobFromBytes } from '@keyturn/release-client'
import { expect, it } from 'vitest'
import { sweepDownloads } from '../src/events/downloads.ts'
import { Reports } from '../src/events/reports.ts'
import { day, TestPublisher } from './publisher.ts'
import { fileUrl, someBytes, startServer } from './support.ts'

async function published() {
  let now = Date.parse('2026-11-21T12:00:00Z')
  const running = await startServer({ clock: () => now })
  const admin = await running.client(['admin'])
  const publisher = await TestPublisher.create({ now })
  await publisher.introduce(admin)
  const first = await publisher.release({ 'a.txt': utf8Encode('a') })
  await publisher.publish(admin, first)
  const read = async (path: string, init: RequestInit = {}) => {
    const answer = await fetch(`${running.url}${path}`, init)
    await answer.arrayBuffer()
    return answer
  }
  const counts = async (limits?: { channels: string[] }) => {
    const answer = await read('/v1/products/metin2/stats')
    expect(answer.status).toBe(401)
    return (await (await running.client(['stats:read'], limits)).stats('metin2')).downloads
  }
  return {
    ...running,
    admin,
    publisher,
    first,
    read,
    counts,
    pass: (ms: number) => {
      now += ms
    },
  }
}

it('reads of heads and manifests are counted by day and version, from memory and from the store', async () => {
  const { admin, publisher, first, read, counts } = await published()
  const { version } = first.model
  const head = await read('/head.json')
  await read('/head.json', { headers: { 'if-none-match': head.headers.get('etag') ?? '' } })
  await read('/p/metin2/channels/stable/head.json')
  await read('/head.json', { method: 'HEAD' })
  await read('/manifest.json')
  await read(`/manifests/${version}.json`)
  await read('/manifest.sigs.json')
  await read(`/manifests/${version}.sigs.json`)
  await read('/manifests/none.json')
  await read('/channels/none/head.json')
  await read('/roles/1.json')
  expect(await counts()).toEqual([
    { channel: 'stable', day: '2026-11-21', version, offers: 3, manifests: 2, blobs: 0, bytes: 0 },
  ])
  // From the next release on, the head offers that one.
  const second = await publisher.release({ 'a.txt': utf8Encode('b') })
  await publisher.publish(admin, second)
  await read('/head.json')
  await read(`/manifests/${version}.json`)
  expect(await counts()).toEqual([
    { channel: 'stable', day: '2026-11-21', version, offers: 3, manifests: 3, blobs: 0, bytes: 0 },
    {
      channel: 'stable',
      day: '2026-11-21',
      version: second.model.version,
      offers: 1,
      manifests: 0,
      blobs: 0,
      bytes: 0,
    },
  ])
})

it('counts survive a restart, belong to those who may see the channel, and are forgotten after 400 days', async () => {
  const { server, url, dataDir, read, counts, pass } = await published()
  await read('/head.json')
  expect(await counts({ channels: ['beta'] })).toEqual([])
  expect(await counts({ channels: ['stable'] })).toHaveLength(1)
  await read('/head.json')
  pass(day)
  await sweepDownloads(server.context)
  expect(await counts()).toMatchObject([{ offers: 1 }, { offers: 1, day: '2026-11-22' }])
  await fetch(`${url}/head.json`)
  await server.close()
  const again = await startServer({ dataDir })
  const stored = await again.server.context.metadata.list('downloads')
  expect(stored.map(({ value }) => (value as { offers: number }).offers)).toEqual([1, 2])
  await again.server.close()
})

it('nobody without the code of a protected channel is counted', async () => {
  const { admin, read, counts } = await published()
  await admin.protectChannel('metin2', 'stable', 'secret-code')
  await read('/head.json')
  await read('/head.json', { headers: { 'keyturn-access': 'secret-code' } })
  expect(await counts()).toMatchObject([{ offers: 1 }])
})

it('requests of blobs are counted for the newest release on offer that has them, with the bytes they get', async () => {
  const { admin, publisher, read, counts } = await published()
  const shared = someBytes(300_000)
  const second = await publisher.release({ 'a.txt': utf8Encode('a'), 'big.bin': shared })
  await publisher.publish(admin, second)
  const { version } = second.model
  const [small = '', big = ''] = ['a.txt', 'big.bin'].map(
    (path) => second.model.files.find((file) => file.path === path)?.sha256 ?? '',
  )
  const path = (sha256: string) => fileUrl('', sha256)
  await read(path(small))
  await read(path(small))
  await read(path(big))
  await read(path(big), { headers: { range: 'bytes=0-999' } })
  await read(path(big), { headers: { range: 'bytes=400000-' } })
  await read(path(big), { headers: { 'if-none-match': `"sha256-${big}"` } })
  await read(path(big), { method: 'HEAD' })
  await read(path('0'.repeat(64)))
  expect(await counts()).toEqual([
    { channel: 'stable', day: '2026-11-21', version, offers: 0, manifests: 0, blobs: 4, bytes: 301_002 },
  ])
  // With the next release on offer, what it shares counts for it, and what only the fallback has for that one.
  const third = await publisher.release({ 'a.txt': utf8Encode('a') })
  const rollout = { percent: 20, salt: 'ab'.repeat(16), paused: false }
  await publisher.publish(
    admin,
    third,
    await publisher.head(third, { edit: (head) => ({ ...head, fallback: second.pin, rollout }) }),
  )
  await read(path(small))
  await read(path(big))
  expect(await counts()).toEqual([
    { channel: 'stable', day: '2026-11-21', version, offers: 0, manifests: 0, blobs: 5, bytes: 601_002 },
    { channel: 'stable', day: '2026-11-21', version: third.model.version, offers: 0, manifests: 0, blobs: 1, bytes: 1 },
  ])
})

it('what cannot be stored is counted the next time, blobs and reports included', async () => {
  const { server, first, read, counts } = await published()
  const { metadata } = server.context
  const transaction = metadata.transaction.bind(metadata)
  let isFull = true
  metadata.transaction = async (locks, work) => {
    if (isFull && (locks.includes('downloads') || locks.includes('reports'))) throw new Error('no room')
    return await transaction(locks, work)
  }
  const { version, files } = first.model
  const reports = new Reports(server.context)
  await reports.add({ product: 'metin2', channel: 'stable', version, duration_ms: 5 })
  await read('/head.json')
  await read(fileUrl('', files[0]?.sha256 ?? ''))
  await expect(counts()).rejects.toMatchObject({ code: 'SRV_INTERNAL' })
  await expect(reports.flush()).rejects.toThrow('no room')
  isFull = false
  expect(await counts()).toMatchObject([{ version, offers: 1, blobs: 1, bytes: 1 }])
  expect(await reports.list('metin2', '', () => true)).toMatchObject([{ version, count: 1, duration_ms: 5 }])
})

it('requests of blobs of no release on offer leave nothing behind', async () => {
  const { server, admin, read, counts } = await published()
  const lonely = blobFromBytes(someBytes(10))
  await admin.uploadMissing([lonely])
  await read(fileUrl('', lonely.sha256))
  expect(await counts()).toEqual([])
  expect(await server.context.metadata.list('downloads')).toEqual([])
})

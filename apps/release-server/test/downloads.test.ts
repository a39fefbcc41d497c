import { utf8Encode } from '@keyturn/primitives'
import { expect, it } from 'vitest'
import { sweepDownloads } from '../src/events/downloads.ts'
import { day, TestPublisher } from './publisher.ts'
import { startServer } from './support.ts'

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
  expect(await counts()).toEqual([{ channel: 'stable', day: '2026-11-21', version, offers: 3, manifests: 2 }])
  // From the next release on, the head offers that one.
  const second = await publisher.release({ 'a.txt': utf8Encode('b') })
  await publisher.publish(admin, second)
  await read('/head.json')
  await read(`/manifests/${version}.json`)
  expect(await counts()).toEqual([
    { channel: 'stable', day: '2026-11-21', version, offers: 3, manifests: 3 },
    { channel: 'stable', day: '2026-11-21', version: second.model.version, offers: 1, manifests: 0 },
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

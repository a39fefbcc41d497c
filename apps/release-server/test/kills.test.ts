import { describe, expect, it } from 'vitest'
import { parseKill, signKill, writeKills } from '@keyturn/manifest/kill'
import { utf8Decode, utf8Encode } from '@keyturn/primitives'
import type { KeyturnError } from '@keyturn/primitives'
import { ReleaseServerClient } from '@keyturn/release-client'
import type { MetadataStore } from '../src/storage/metadata-store.ts'
import { openSqliteMetadataStore } from '../src/storage/sqlite-metadata-store.ts'
import { keyId, signerOf, TestPublisher } from './publisher.ts'
import { startServer } from './support.ts'

const ISSUED = '2026-11-21T03:00:00Z'
const notice = async (name: string, product = 'metin2'): Promise<Uint8Array> =>
  await signKill({ product, issuedAt: ISSUED }, signerOf(name))

async function published(options: Parameters<typeof startServer>[0] = {}) {
  const running = await startServer(options)
  const client = await running.client(['admin'])
  const publisher = await TestPublisher.create()
  await publisher.introduce(client)
  await publisher.publish(client, await publisher.release({ 'a.txt': utf8Encode('a') }))
  return { running, client, publisher, stranger: new ReleaseServerClient(running.url, { retries: 0 }) }
}

describe('a key that ends itself', () => {
  it('needs no token, is shown in the tree and in the audit log, and the same notice changes nothing', async () => {
    const { running, client, stranger } = await published()
    expect((await fetch(`${running.url}/kills.json`)).status).toBe(404)
    const key = keyId('head 1')
    expect(await stranger.kill('metin2', await notice('head 1'))).toEqual({ key, role: 'head', killed: [key] })
    expect(await stranger.kill('metin2', await notice('head 1'))).toMatchObject({ killed: [key] })
    const shown = await fetch(`${running.url}/p/metin2/kills.json`)
    expect(shown.headers.get('cache-control')).toContain('max-age=15')
    expect(new Uint8Array(await shown.arrayBuffer())).toEqual(writeKills([parseKill(await notice('head 1'))]))
    const items = await client.audit({ limit: 50 })
    expect(items.filter(({ action }) => action === 'key.kill')).toMatchObject([
      { actor: `key:${key.slice(0, 16)}`, target: 'metin2', facts: { key, role: 'head' } },
    ])
  })

  it('the server takes nothing more that the key signs, and goes on showing what it has', async () => {
    const { running, client, publisher, stranger } = await published()
    await stranger.kill('metin2', await notice('release 1'))
    const next = await publisher.release({ 'a.txt': utf8Encode('b') })
    await client.uploadMissing(next.blobs)
    await expect(client.createRelease('metin2', next)).rejects.toMatchObject({ code: 'MAN_KEY_KILLED' })
    expect((await fetch(`${running.url}/manifest.json`)).status).toBe(200)
    expect(await client.getChannel('metin2', 'stable')).toMatchObject({ head: { sequence: 1 } })
  })

  it('refuses notices of other products, by keys in no role, and what is not a notice', async () => {
    const { running, stranger } = await published()
    await expect(stranger.kill('metin2', await notice('head 1', 'other'))).rejects.toMatchObject({ code: 'MAN_KILL' })
    await expect(stranger.kill('metin2', await notice('stranger'))).rejects.toMatchObject({ code: 'MAN_KEY_UNKNOWN' })
    await expect(stranger.kill('metin2', utf8Encode('{}'))).rejects.toMatchObject({ code: 'MAN_KILL' })
    const forged = utf8Encode(utf8Decode(await notice('head 1')).replace(/"sig": "./, '"sig": "x'))
    await expect(stranger.kill('metin2', forged)).rejects.toMatchObject({ code: 'MAN_KILL' })
    expect((await fetch(`${running.url}/kills.json`)).status).toBe(404)
  })

  it('gives a stranger one answer, whether the product exists, has roles or neither', async () => {
    const { client, stranger } = await published()
    await client.createProduct({ slug: 'empty', pin: (await TestPublisher.create({ product: 'empty' })).pin })
    const answerAbout = async (product: string) =>
      await stranger.kill(product, await notice('stranger', product)).then(
        () => 'taken',
        ({ code, message }: KeyturnError) => `${code} ${message.replace(product, 'P')}`,
      )
    const answers = await Promise.all(['metin2', 'empty', 'nothing'].map(answerAbout))
    expect(answers[0]).toMatch(/^MAN_KEY_UNKNOWN /)
    expect(new Set(answers).size).toBe(1)
  })

  it('takes no lock for a stranger, so that strangers delay nobody', async () => {
    const store = openSqliteMetadataStore(':memory:')
    let transactions = 0
    const counting: MetadataStore = new Proxy(store, {
      get: (target, name) => {
        if (name === 'transaction') transactions += 1
        const member: unknown = Reflect.get(target, name)
        return typeof member === 'function' ? (member.bind(target) as unknown) : member
      },
    })
    const { stranger } = await published({ metadata: counting })
    const before = transactions
    await expect(stranger.kill('metin2', await notice('stranger'))).rejects.toMatchObject({ code: 'MAN_KEY_UNKNOWN' })
    await expect(stranger.kill('nothing', await notice('head 1', 'nothing'))).rejects.toThrow()
    expect(transactions).toBe(before)
  })
})

import { readdir } from 'node:fs/promises'
import { utf8Encode } from '@keyturn/primitives'
import { ReleaseServerClient } from '@keyturn/release-client'
import { describe, expect, it } from 'vitest'
import { exportStatic } from '../src/releases/export-static.ts'
import { TestPublisher } from './publisher.ts'
import { startServer, temporaryFolder } from './support.ts'

const code = 'correct-horse-7'

async function published(options: Parameters<typeof startServer>[0] = {}) {
  const running = await startServer(options)
  const admin = await running.client(['admin'])
  const publisher = await TestPublisher.create()
  await publisher.introduce(admin)
  const stable = await publisher.release({ 'a.txt': utf8Encode('a') })
  await publisher.publish(admin, stable)
  const beta = await publisher.release({ 'b.txt': utf8Encode('b') }, { channel: 'beta' })
  await publisher.publish(admin, beta)
  const read = (path: string, headers: Record<string, string> = {}) => fetch(`${running.url}${path}`, { headers })
  return { running, admin, publisher, beta, stable, read }
}

describe('a channel with an access code', () => {
  it('answers all of its documents only with the code, and none of them may be cached', async () => {
    const { admin, beta, read } = await published({ rates: { accessPerMinute: 1e9 } })
    const { version } = beta.model
    const paths = ['head.json', 'manifest.json', 'manifest.sigs.json', `manifests/${version}.json`].flatMap((name) => [
      `/channels/beta/${name}`,
      `/p/metin2/channels/beta/${name}`,
    ])
    // Read once before, so that what was remembered of them counts no more.
    for (const path of paths) expect((await read(path)).status).toBe(200)
    expect(await admin.protectChannel('metin2', 'beta', code)).toMatchObject({ protected: true })
    for (const path of paths) {
      const without = await read(path)
      expect([path, without.status, ((await without.json()) as { code: string }).code]).toEqual([
        path,
        403,
        'SRV_ACCESS',
      ])
      expect((await read(path, { 'keyturn-access': code })).headers.get('cache-control')).toBe('private, no-store')
      // Also a second time, when it could come from memory.
      expect([path, (await read(path)).status]).toEqual([path, 403])
      expect((await read(path, { 'keyturn-access': `${code}8` })).status).toBe(403)
      expect((await read(path, { 'keyturn-access': '' })).status).toBe(403)
    }
    expect((await read('/head.json')).status).toBe(200)
    expect((await read('/roles/1.json')).status).toBe(200)
    // Blobs are public by their hash.
    const [blob] = beta.blobs
    expect((await read(`/files/${blob?.sha256.slice(0, 2)}/${blob?.sha256}`)).status).toBe(200)
    expect(await admin.openChannel('metin2', 'beta')).toMatchObject({ protected: false, set_at: null })
    expect((await read('/channels/beta/head.json')).headers.get('cache-control')).toContain('public')
  })

  it('is protected at the root too when it is the default channel, and a new code replaces the old one', async () => {
    const { running, admin, stable, read } = await published()
    await admin.protectChannel('metin2', 'stable', code)
    expect((await read('/head.json')).status).toBe(403)
    expect((await read('/manifest.json', { 'keyturn-access': code })).status).toBe(200)
    await admin.protectChannel('metin2', 'stable', 'another-code-1')
    expect((await read('/manifest.json', { 'keyturn-access': code })).status).toBe(403)
    const reader = new ReleaseServerClient(running.url, { accessCode: 'another-code-1' })
    expect(await reader.fetchPublic('/manifest.json')).toEqual(stable.manifest)
    await expect(new ReleaseServerClient(running.url).fetchPublic('/manifest.json')).rejects.toMatchObject({
      code: 'SRV_ACCESS',
      status: 403,
    })
  })

  it('takes a few wrong codes a minute from one address, and no guess after them (row 385)', async () => {
    let now = Date.now()
    const { admin, read } = await published({ rates: { accessPerMinute: 3 }, clock: () => now })
    await admin.protectChannel('metin2', 'beta', code)
    const guess = async (given: string) => (await read('/channels/beta/head.json', { 'keyturn-access': given })).status
    expect([await guess('wrong-1'), await guess('wrong-2'), await guess('wrong-3')]).toEqual([403, 403, 403])
    expect(await guess(code)).toBe(429)
    now += 61_000
    expect(await guess(code)).toBe(200)
    // The right code, and asking without one, cost nothing.
    for (let at = 0; at < 10; at++) expect((await read('/channels/beta/head.json')).status).toBe(403)
    expect(await guess(code)).toBe(200)
  })

  it('stores no code, shows none, and is left out of an export for a static host', async () => {
    const { running, admin } = await published()
    await admin.protectChannel('metin2', 'beta', code)
    const { metadata } = running.server.context
    expect(JSON.stringify(await metadata.list('channel-access'))).not.toContain(code)
    expect(JSON.stringify(await admin.audit())).not.toContain(code)
    expect(JSON.stringify(await admin.channelAccess('metin2', 'beta'))).not.toContain(code)
    const folder = await temporaryFolder()
    await exportStatic(running.server.context, folder)
    const written = await readdir(folder, { recursive: true })
    expect(written.filter((name) => name.includes('beta'))).toEqual([])
    expect(written).toContain('head.json')
  })

  it.each(['short', 'with a space', 'x'.repeat(129), 'ünïcödé-code'])('refuses the code %s', async (wrong) => {
    const { admin } = await published()
    await expect(admin.protectChannel('metin2', 'beta', wrong)).rejects.toMatchObject({ code: 'SRV_REQUEST' })
  })
})

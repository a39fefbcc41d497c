import { utf8Decode, utf8Encode } from '@keyturn/primitives'
import { initialTrustState, parseTrustRoot, verifyRelease } from '@keyturn/manifest'
import { signManifest } from '@keyturn/manifest/publish'
import { describe, expect, it } from 'vitest'
import { keyId, signerOf, TestPublisher } from './publisher.ts'
import { sha256Hex, someBytes, startServer } from './support.ts'
import type { RunningServer } from './support.ts'
import type { ReleaseServerClient } from '@keyturn/release-client'

async function fetchBytes(url: string, path: string): Promise<Uint8Array> {
  const answer = await fetch(url + path)
  if (answer.status !== 200) throw new Error(`${path}: ${answer.status}`)
  return new Uint8Array(await answer.arrayBuffer())
}

async function ready(): Promise<{ running: RunningServer; client: ReleaseServerClient; publisher: TestPublisher }> {
  const running = await startServer()
  const client = await running.client(['admin'])
  const publisher = await TestPublisher.create()
  await publisher.introduce(client)
  return { running, client, publisher }
}

/** What a fresh launcher decides from the public tree alone. */
async function decide(url: string, publisher: TestPublisher, channel = 'stable') {
  const prefix = publisher.events[0]?.prefix ?? ''
  const [log, roles, head, manifest, signatures] = await Promise.all([
    fetchBytes(url, `/kel/${prefix}.cesr`),
    fetchBytes(url, `/roles/${publisher.roles.version}.json`),
    fetchBytes(url, `/channels/${channel}/head.json`),
    fetchBytes(url, `/channels/${channel}/manifest.json`),
    fetchBytes(url, `/channels/${channel}/manifest.sigs.json`),
  ])
  return verifyRelease(
    { logs: [log], roles, head, manifest, signatures },
    initialTrustState(parseTrustRoot(publisher.pin)),
    { channel, nowMs: Date.now() },
  )
}

describe('publish', () => {
  it('publishes a release that a launcher accepts from the public tree alone', async () => {
    const { running, client, publisher } = await ready()
    const release = await publisher.release({ 'data/root.bin': someBytes(50_000), 'a.txt': utf8Encode('a') })
    await publisher.publish(client, release)
    const decision = await decide(running.url, publisher)
    expect(decision.outcome).toBe('accepted')
    expect(await client.getChannel('metin2', 'stable')).toMatchObject({
      manifest: { version: release.model.version },
      head: { sequence: 1 },
    })
    expect(await client.getProduct('metin2')).toMatchObject({ is_default: true, log: { sn: 0 }, roles: { version: 1 } })
    for (const path of [
      '/manifest.json',
      '/head.json',
      '/p/metin2/manifest.json',
      `/manifests/${release.model.version}.json`,
      `/manifests/${release.model.version}.sigs.json`,
      `/channels/stable/manifests/${release.model.version}.json.sigs.json`,
    ]) {
      expect([path, (await fetch(running.url + path)).status]).toEqual([path, 200])
    }
    const cache = async (path: string) => (await fetch(running.url + path)).headers.get('cache-control')
    expect(await cache('/head.json')).toBe('public, max-age=15, must-revalidate')
    expect(await cache('/manifest.json')).toBe('public, max-age=60, must-revalidate')
    expect(await cache('/manifest.sigs.json')).toBe('public, max-age=60, must-revalidate')
    expect(await cache(`/manifests/${release.model.version}.json`)).toBe('public, max-age=31536000, immutable')
    expect(await cache('/roles/1.json')).toBe('public, max-age=31536000, immutable')
    const etag = (await fetch(`${running.url}/manifest.json`)).headers.get('etag') ?? ''
    expect(etag).toBe(`"sha256-${release.pin.sha256}"`)
    expect((await fetch(`${running.url}/manifest.json`, { headers: { 'if-none-match': etag } })).status).toBe(304)
  })

  it('a manifest with a missing blob is 409 PUB_MISSING_BLOBS with the list (row 241)', async () => {
    const { client, publisher } = await ready()
    const release = await publisher.release({ 'a.txt': utf8Encode('a'), 'b.txt': utf8Encode('b') })
    await client.uploadBlob(release.blobs[0] as (typeof release.blobs)[0])
    const failure = client.createRelease('metin2', release)
    await expect(failure).rejects.toMatchObject({ code: 'PUB_MISSING_BLOBS', status: 409 })
    await expect(failure).rejects.toSatisfy(
      (error: { errors: string[] }) =>
        error.errors.toSorted().join() ===
        release.blobs
          .slice(1)
          .map(({ sha256 }) => sha256)
          .toSorted()
          .join(),
    )
  })

  it('refuses foreign signatures, other products, taken versions, lower and equal sequences; the channel stays (row 242)', async () => {
    const { running, client, publisher } = await ready()
    const first = await publisher.release({ 'a.txt': utf8Encode('a') })
    await publisher.publish(client, first)
    const second = await publisher.release({ 'a.txt': utf8Encode('b') })
    await client.uploadMissing(second.blobs)
    const foreign = await publisher.release({ 'a.txt': utf8Encode('b') }, { signers: ['somebody'], sequence: 3 })
    await expect(client.createRelease('metin2', foreign)).rejects.toMatchObject({
      code: 'MAN_KEY_UNKNOWN',
      status: 422,
    })
    const torn = { ...second, manifest: second.manifest.map((byte, at) => (at === 100 ? byte ^ 1 : byte)) }
    await expect(client.createRelease('metin2', torn)).rejects.toMatchObject({ code: 'MAN_SIGNATURE', status: 422 })
    const taken = await publisher.release({ 'a.txt': utf8Encode('b') }, { sequence: 1 })
    await expect(client.createRelease('metin2', taken)).rejects.toMatchObject({ code: 'PUB_TAKEN', status: 409 })
    await client.createRelease('metin2', second)
    const head = await publisher.head(second, { signers: ['release 1'] })
    await expect(client.publish('metin2', 'stable', { version: second.model.version, head })).rejects.toMatchObject({
      status: 422,
    })
    const old = await publisher.head(second, { sequence: 1 })
    await expect(
      client.publish('metin2', 'stable', { version: second.model.version, head: old }),
    ).rejects.toMatchObject({ status: 409 })
    const good = await publisher.head(second, { sequence: 3 })
    await expect(
      client.publish('metin2', 'stable', { version: second.model.version, head: good, ifHeadSequence: 7 }),
    ).rejects.toMatchObject({ code: 'PUB_STALE' })
    expect((await client.getChannel('metin2', 'stable'))?.head?.sequence).toBe(1)
    await client.publish('metin2', 'stable', { version: second.model.version, head: good, ifHeadSequence: 1 })
    const back = await publisher.head(first, { sequence: 4 })
    await expect(
      client.publish('metin2', 'stable', { version: first.model.version, head: back }),
    ).rejects.toMatchObject({ code: 'PUB_ROLLBACK', status: 409 })
    const stale = await publisher.head(second, { sequence: 2 })
    await expect(
      client.publish('metin2', 'stable', { version: second.model.version, head: stale }),
    ).rejects.toMatchObject({ code: 'PUB_ROLLBACK', status: 409 })
    expect((await decide(running.url, publisher)).outcome).toBe('accepted')
    expect((await client.getChannel('metin2', 'stable'))?.head?.sequence).toBe(3)
  })

  it('discards a draft, whose version and sequence are free again, and never a release (PUB_PUBLISHED)', async () => {
    const { client, publisher } = await ready()
    const first = await publisher.release({ 'a.txt': utf8Encode('a') })
    await publisher.publish(client, first)
    const draft = await publisher.release({ 'a.txt': utf8Encode('b') }, { sequence: 2 })
    await client.uploadMissing(draft.blobs)
    await client.createRelease('metin2', draft)
    const { version } = draft.model
    await client.discardDraft('metin2', 'stable', version)
    expect(await client.getRelease('metin2', 'stable', version)).toBeUndefined()
    await expect(client.discardDraft('metin2', 'stable', version)).rejects.toMatchObject({ code: 'SRV_NOT_FOUND' })
    const other = await publisher.release({ 'a.txt': utf8Encode('c') }, { sequence: 2 })
    await publisher.publish(client, other)
    for (const { model } of [first, other])
      await expect(client.discardDraft('metin2', 'stable', model.version)).rejects.toMatchObject({
        code: 'PUB_PUBLISHED',
        status: 409,
      })
    expect((await client.audit({ action: 'release.discard' })).map(({ target }) => target)).toEqual([
      `metin2/stable/${version}`,
    ])
  })

  it('reads a part of a published file, and refuses another part', async () => {
    const { client, publisher } = await ready()
    const release = await publisher.release({ 'a.txt': utf8Encode('0123456789') })
    await publisher.publish(client, release)
    const sha256 = release.model.files[0]?.sha256 ?? ''
    const path = `/p/metin2/files/${sha256.slice(0, 2)}/${sha256}`
    expect(utf8Decode(await client.fetchPublicRange(path, 3, 4))).toBe('3456')
    await expect(client.fetchPublicRange(path, 8, 5)).rejects.toMatchObject({ code: 'SRV_NETWORK' })
    await expect(client.fetchPublicRange(path, 50, 5)).rejects.toBeInstanceOf(Error)
    await expect(client.fetchPublicRange(path.replace(/.$/, sha256.endsWith('0') ? '1' : '0'), 0, 1)).rejects.toThrow()
  })

  it('rotates identity and release key in one step: the same manifest, signed again', async () => {
    const { running, client, publisher } = await ready()
    const release = await publisher.release({ 'a.txt': utf8Encode('a') })
    await publisher.publish(client, release)
    const roles = await publisher.rotate((old) => ({
      roles: { ...old.roles, release: { keys: [keyId('release 2')], threshold: 1 } },
    }))
    await client.putRoles('metin2', 2, roles)
    await expect(client.putLog('metin2', publisher.log)).rejects.toMatchObject({ code: 'PUB_WOULD_BREAK', status: 409 })
    expect((await fetch(`${running.url}/roles/2.json`)).status).toBe(404)
    const signatures = await signManifest(release.manifest, [signerOf('release 2')])
    const view = await client.publish('metin2', 'stable', {
      version: release.model.version,
      head: await publisher.head(release),
      signatures,
      log: publisher.log,
      roles: [roles],
    })
    expect(view.manifest?.sha256).toBe(release.pin.sha256)
    expect((await decide(running.url, publisher)).outcome).toBe('accepted')
    const byOld = await publisher.release({ 'a.txt': utf8Encode('c') }, { sequence: 2 })
    await client.uploadMissing(byOld.blobs)
    await expect(client.createRelease('metin2', byOld)).rejects.toMatchObject({ code: 'MAN_KEY_UNKNOWN' })
    const byNew = await publisher.release({ 'a.txt': utf8Encode('c') }, { sequence: 2, signers: ['release 2'] })
    await publisher.publish(client, byNew)
    expect((await decide(running.url, publisher)).outcome).toBe('accepted')
  })

  it('a draft of keys that are not in force yet needs the log that puts them in force, and changes nothing', async () => {
    const { running, client, publisher } = await ready()
    await publisher.publish(client, await publisher.release({ 'a.txt': utf8Encode('a') }))
    const roles = await publisher.rotate((old) => ({
      roles: { ...old.roles, release: { keys: [keyId('release 2')], threshold: 1 } },
    }))
    const next = await publisher.release({ 'a.txt': utf8Encode('b') }, { signers: ['release 2'] })
    await client.uploadMissing(next.blobs)
    const { log } = publisher
    const cut = log.slice(0, -1)
    const forged = log.slice()
    forged[forged.length - 1] = forged[forged.length - 1] === 65 ? 66 : 65 // the last character of the last signature
    await expect(client.createRelease('metin2', next)).rejects.toMatchObject({ code: 'MAN_KEY_UNKNOWN' })
    await expect(client.createRelease('metin2', { ...next, log })).rejects.toMatchObject({ code: 'PUB_UNSEALED' })
    for (const wrong of [cut, forged])
      await expect(client.createRelease('metin2', { ...next, log: wrong, roles: [roles] })).rejects.toMatchObject({
        code: expect.stringMatching(/^KEL_/),
      })
    expect(await client.createRelease('metin2', { ...next, log, roles: [roles] })).toMatchObject({ state: 'draft' })
    expect(await client.getProduct('metin2')).toMatchObject({ log: { sn: 0 }, roles: { version: 1 } })
    expect((await fetch(`${running.url}/roles/2.json`)).status).toBe(404)
    const head = await publisher.head(next)
    await client.publish('metin2', 'stable', { version: next.model.version, head, log, roles: [roles] })
    expect((await decide(running.url, publisher)).outcome).toBe('accepted')
  })

  it('two publishes of different heads at once: one is done, one is refused (row 243)', async () => {
    const { client, publisher } = await ready()
    const one = await publisher.release({ 'a.txt': utf8Encode('a') })
    const two = await publisher.release({ 'a.txt': utf8Encode('b') })
    for (const release of [one, two]) {
      await client.uploadMissing(release.blobs)
      await client.createRelease('metin2', release)
    }
    const heads = [await publisher.head(one, { sequence: 1 }), await publisher.head(two, { sequence: 1 })]
    const results = await Promise.allSettled(
      [one, two].map((release, at) =>
        client.publish('metin2', 'stable', {
          version: release.model.version,
          head: heads[at] as Uint8Array,
          ifHeadSequence: 0,
        }),
      ),
    )
    expect(results.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
  })

  it('limits tokens to their products and channels, answering 404', async () => {
    const { running, client, publisher } = await ready()
    const release = await publisher.release({ 'a.txt': utf8Encode('a') })
    await publisher.publish(client, release)
    const other = await running.client(['releases:read'], { products: ['other'] })
    expect(await other.getProduct('metin2')).toBeUndefined()
    const beta = await running.client(['releases:read', 'releases:write'], { channels: ['beta'] })
    expect(await beta.getChannel('metin2', 'stable')).toBeUndefined()
    await expect(beta.createRelease('metin2', release)).rejects.toMatchObject({ code: 'SRV_SCOPE', status: 403 })
  })

  it('a limited token cannot reach beyond its limits by a call that names none', async () => {
    const { running, publisher } = await ready()
    const limited = await running.client(['admin'], { products: ['metin2'] })
    await expect(limited.createToken({ name: 'wider', scopes: ['admin'] })).rejects.toMatchObject({
      code: 'SRV_SCOPE',
      status: 403,
    })
    await expect(limited.audit()).rejects.toMatchObject({ code: 'SRV_SCOPE' })
    await expect(limited.collectGarbage()).rejects.toMatchObject({ code: 'SRV_SCOPE' })
    await expect(limited.createProduct({ slug: 'other', pin: publisher.pin })).rejects.toMatchObject({
      code: 'SRV_SCOPE',
    })
    expect(await limited.getProduct('metin2')).toBeDefined()
    const beta = await running.client(['admin'], { products: ['metin2'], channels: ['beta'] })
    await expect(beta.putLog('metin2', publisher.log)).rejects.toMatchObject({ code: 'SRV_SCOPE' })
    const stable = await running.client(['admin'], { products: ['metin2'], channels: ['stable'] })
    await expect(
      stable.publish('metin2', 'stable', { version: '1', head: utf8Encode('{}'), log: publisher.log }),
    ).rejects.toMatchObject({ code: 'SRV_SCOPE' })
    await expect(beta.putRuntimeKey('metin2', 1, new Uint8Array(84))).rejects.toSatisfy(
      (error: { status: number }) => error.status === 403 || error.status === 404,
    )
  })

  it('readers during the switch always find a complete release behind the head (row 244)', async () => {
    const { running, client, publisher } = await ready()
    await publisher.publish(client, await publisher.release({ 'a.txt': utf8Encode('0') }))
    let [publishing, reads] = [true, 0]
    const seen = new Set<string>()
    const read = async (): Promise<void> => {
      while (publishing || reads < 300) {
        const head = JSON.parse(Buffer.from(await fetchBytes(running.url, '/head.json')).toString()) as {
          payload: string
        }
        const { manifest: pin } = JSON.parse(Buffer.from(head.payload, 'base64').toString()) as {
          manifest: { version: string; sha256: string }
        }
        const [manifest, signatures] = await Promise.all(
          ['json', 'sigs.json'].map((end) =>
            fetchBytes(running.url, `/channels/stable/manifests/${pin.version}.${end}`),
          ),
        )
        expect(sha256Hex(manifest as Uint8Array)).toBe(pin.sha256)
        expect(Buffer.from(signatures as Uint8Array).toString()).toContain(pin.sha256)
        seen.add(pin.version)
        reads += 1
      }
    }
    const readers = Promise.all(Array.from({ length: 8 }, read))
    for (let at = 1; at <= 8; at++)
      await publisher.publish(client, await publisher.release({ 'a.txt': utf8Encode(String(at)) }))
    publishing = false
    await readers
    expect(seen.size).toBeGreaterThan(1)
  })
})

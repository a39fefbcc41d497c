import { initialTrustState, parseTrustRoot, releaseSteps } from '@keyturn/manifest'
import type { DocumentRequest, ReleaseDecision, TrustState } from '@keyturn/manifest'
import { ed25519Sign, utf8Encode } from '@keyturn/primitives'
import { describe, expect, it } from 'vitest'
import { keyId, seedOf, TestPublisher } from './publisher.ts'
import type { MadeRelease } from './publisher.ts'
import { sha256Hex, someBytes, startServer } from './support.ts'

async function published() {
  const running = await startServer()
  const client = await running.client(['admin'])
  const publisher = await TestPublisher.create()
  await publisher.introduce(client)
  const publish = async (release: MadeRelease, by = 'legacy') => {
    await client.uploadMissing(release.blobs)
    await client.createRelease('metin2', { ...release, legacySignature: ed25519Sign(seedOf(by), release.manifest) })
    await client.publish('metin2', 'stable', { version: release.model.version, head: await publisher.head(release) })
  }
  return { ...running, admin: client, publisher, publish }
}

const pathOf = (request: DocumentRequest): string => {
  switch (request.document) {
    case 'log':
      return `/kel/${request.prefix}.cesr`
    case 'roles':
      return `/roles/${request.version}.json`
    case 'kills':
      return '/kills.json'
    case 'head':
      return '/head.json'
    case 'manifest':
      return request.pin === undefined ? '/manifest.json' : `/manifests/${request.pin.version}.json`
    case 'signatures':
      return `/manifests/${request.pin.version}.sigs.json`
    case 'proof':
      return `/manifests/${request.pin.version}.tlog-proof`
    case 'legacy-signature':
      return '/manifest.json.sig'
  }
}

/** One cycle of an install that reads the public tree as a launcher does. */
async function cycle(url: string, state: TrustState): Promise<ReleaseDecision> {
  const steps = releaseSteps(state, { channel: 'stable', nowMs: Date.now() })
  let step = steps.next()
  while (step.done !== true) {
    const answer = await fetch(url + pathOf(step.value))
    step = steps.next(answer.status === 200 ? new Uint8Array(await answer.arrayBuffer()) : undefined)
  }
  return step.value
}

describe('the addresses of the original launcher', () => {
  it('answer with the headers, ranges and bytes it expects, never compressed', async () => {
    const { url, publisher, publish } = await published()
    const bytes = someBytes(70_000)
    const release = await publisher.release({ 'Metin2.exe': bytes })
    await publish(release)
    const get = (path: string, headers: Record<string, string> = {}) =>
      fetch(url + path, { headers: { 'accept-encoding': 'gzip, br', ...headers } })
    const file = `/files/${sha256Hex(bytes).slice(0, 2)}/${sha256Hex(bytes)}`
    const { version } = release.model
    const minute = 'public, max-age=60, must-revalidate'
    const forever = 'public, max-age=31536000, immutable'
    const expected: [string, string, string, number][] = [
      ['/manifest.json', minute, 'application/json', release.manifest.length],
      ['/manifest.json.sig', minute, 'application/octet-stream', 64],
      [`/manifests/${version}.json`, forever, 'application/json', release.manifest.length],
      [`/manifests/${version}.json.sig`, minute, 'application/octet-stream', 64],
      [file, forever, 'application/octet-stream', bytes.length],
    ]
    for (const [path, cache, type, size] of expected) {
      const answer = await get(path)
      expect([
        path,
        answer.status,
        answer.headers.get('cache-control'),
        answer.headers.get('content-type'),
        answer.headers.get('content-length'),
        answer.headers.get('content-encoding'),
      ]).toEqual([path, 200, cache, type, String(size), null])
      expect((await answer.arrayBuffer()).byteLength).toBe(size)
      expect((await get(path, { 'if-none-match': answer.headers.get('etag') ?? '' })).status).toBe(304)
      expect((await fetch(`${url}${path}`, { method: 'HEAD' })).headers.get('content-length')).toBe(String(size))
      // A cache that has to look past itself sends a query: it names the same thing.
      expect((await get(`${path}?t=1`)).status).toBe(200)
    }
    const rest = await get(file, { range: 'bytes=69000-', 'if-range': `"sha256-${sha256Hex(bytes)}"` })
    expect([rest.status, rest.headers.get('content-range'), rest.headers.get('accept-ranges')]).toEqual([
      206,
      'bytes 69000-69999/70000',
      'bytes',
    ])
    expect(new Uint8Array(await rest.arrayBuffer())).toEqual(bytes.slice(69_000))
  })

  it('serve an install with pinned keys, which moves to the identity that the manifest names, and accepts no other key', async () => {
    const { url, publisher, publish, admin } = await published()
    const pinned = initialTrustState(parseTrustRoot(`key:${keyId('legacy')}`))
    const first = await publisher.release({ 'a.txt': utf8Encode('a') })
    await publish(first)
    const before = await cycle(url, pinned)
    expect(before).toMatchObject({ outcome: 'accepted', state: { root: { kind: 'pinned-keys' } } })
    const second = await publisher.release({ 'a.txt': utf8Encode('b') }, { trustRoot: publisher.pin })
    await publish(second)
    const moved = await cycle(url, before.state)
    expect(moved).toMatchObject({ outcome: 'accepted', state: { root: { kind: 'kel' } } })
    expect(await cycle(url, moved.state)).toMatchObject({
      outcome: expect.stringMatching(/accepted|current|unchanged/),
      state: { root: { kind: 'kel' } },
    })
    // From now on the old key counts for nothing there; for those who stayed, a foreign one does not either.
    await publish(await publisher.release({ 'a.txt': utf8Encode('c') }), 'somebody')
    expect(await cycle(url, before.state)).toMatchObject({ outcome: 'refused', error: { code: 'MAN_SIGNATURE' } })
    expect(await cycle(url, moved.state)).toMatchObject({ outcome: 'accepted' })
    await expect(admin.createProduct({ slug: 'old', pin: `key:${keyId('legacy')}` })).rejects.toMatchObject({
      code: 'SRV_REQUEST',
      hint: expect.stringContaining('keyturn init'),
    })
  })
})

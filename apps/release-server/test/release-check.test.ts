import { writeFile } from 'node:fs/promises'
import { utf8Encode } from '@keyturn/primitives'
import { describe, expect, it } from 'vitest'
import { sampleOf } from '../src/releases/release-check.ts'
import { signManifest } from '@keyturn/manifest/publish'
import { signerOf, TestPublisher } from './publisher.ts'
import { fileUrl, someBytes, startServer } from './support.ts'

async function published() {
  let now = Date.now()
  const running = await startServer({ clock: () => now })
  const client = await running.client(['admin'])
  const publisher = await TestPublisher.create({ now })
  await publisher.introduce(client)
  const release = await publisher.release({
    'a.txt': utf8Encode('a'),
    'b.bin': someBytes(100_000),
    'c.bin': someBytes(10),
  })
  await publisher.publish(client, release)
  return {
    running,
    client,
    publisher,
    release,
    later: (ms: number) => {
      now += ms
    },
  }
}

describe(':verify of a release', () => {
  it('hashes every blob and verifies the signatures; damaged blobs are set aside and can be sent again', async () => {
    const { running, client, release } = await published()
    const { version } = release.model
    const whole = await client.checkRelease('metin2', 'stable', version)
    expect(whole).toMatchObject({
      state: 'done',
      sound: true,
      signatures: 'valid',
      blobs: 5,
      checked: 5,
      damaged: [],
      missing: [],
      sample: null,
    })
    expect(whole.bytes).toBe(release.manifest.length + release.blobs.reduce((sum, { size }) => sum + size, 0))
    const [text, large, small] = release.blobs
    const { blobs } = running.server.context
    await writeFile(blobs.localPath?.(large?.sha256 ?? '') ?? '', someBytes(100_000))
    await blobs.delete(small?.sha256 ?? '')
    const told: string[] = []
    const broken = await client.checkRelease('metin2', 'stable', version, {
      onProgress: ({ state }) => told.push(state),
    })
    expect(broken).toMatchObject({
      state: 'done',
      sound: false,
      signatures: 'valid',
      damaged: [large?.sha256],
      missing: [small?.sha256],
    })
    expect(told.at(-1)).toBe('done')
    expect((await fetch(fileUrl(running.url, large?.sha256 ?? ''))).status).toBe(404)
    expect((await fetch(fileUrl(running.url, text?.sha256 ?? ''))).status).toBe(200)
    expect(await client.uploadMissing(release.blobs)).toMatchObject({ blobs: 2 })
    expect(await client.checkRelease('metin2', 'stable', version)).toMatchObject({ sound: true })
    expect((await client.audit({ action: 'release.verify' })).map(({ facts }) => facts['sound'])).toEqual([
      true,
      false,
      true,
    ])
  })

  it('checks a sample when asked for one, and reports signatures that no longer count', async () => {
    const { running, client, release } = await published()
    const { version } = release.model
    expect(await client.checkRelease('metin2', 'stable', version, { sample: 2 })).toMatchObject({
      sample: 2,
      checked: 2,
      blobs: 5,
      sound: true,
    })
    const { metadata } = running.server.context
    const [stored] = await metadata.list('release-signatures', { bodies: true })
    const foreign = await signManifest(release.manifest, [signerOf('somebody')])
    await metadata.transaction([], (records) =>
      records.put('release-signatures', { key: stored?.key ?? '', value: stored?.value ?? null, body: foreign }),
    )
    expect(await client.checkRelease('metin2', 'stable', version, { sample: 1 })).toMatchObject({
      sound: false,
      signatures: expect.stringMatching(/^MAN_/),
    })
    expect(sampleOf([1, 2, 3], 9, (length) => new Uint8Array(length)).toSorted()).toEqual([1, 2, 3])
  })

  it('a check whose process died is reported as failed; unknown releases, checks and samples are refused', async () => {
    const { running, client, release, later } = await published()
    const { id } = await client.checkRelease('metin2', 'stable', release.model.version, { sample: 1 })
    const { metadata } = running.server.context
    const { view, beat_ms: beat } = (await metadata.get('checks', `metin2/${id}`))!.value as unknown as {
      view: object
      beat_ms: number
    }
    await metadata.transaction([], (records) =>
      records.put('checks', {
        key: `metin2/${id}`,
        value: { view: { ...view, state: 'running' }, beat_ms: beat } as never,
      }),
    )
    const headers = {
      authorization: `Bearer ${await running.token(['releases:read'])}`,
      'content-type': 'application/json',
    }
    const look = async (name: string) =>
      await (await fetch(`${running.url}/v1/products/metin2/checks/${name}`, { headers })).json()
    expect(await look(id)).toMatchObject({ state: 'running' })
    later(61_000)
    expect(await look(id)).toMatchObject({ state: 'failed', error: 'SRV_UNAVAILABLE' })
    expect(await look('a'.repeat(16))).toMatchObject({ status: 404, code: 'SRV_NOT_FOUND' })
    const verify = (version: string, body: string) =>
      fetch(`${running.url}/v1/products/metin2/channels/stable/releases/${version}:verify`, {
        method: 'POST',
        headers,
        body,
      })
    expect((await verify('none', '{}')).status).toBe(404)
    expect((await verify(release.model.version, '{"sample":0}')).status).toBe(400)
    const begun = await verify(release.model.version, '{}')
    expect([begun.status, begun.headers.get('location')]).toEqual([
      202,
      expect.stringMatching(/^\/v1\/products\/metin2\/checks\/[\w-]{16}$/),
    ])
  })

  it('waiting checks are alive, equal ones are joined, and no more than 16 wait', async () => {
    const { running, client, release, later } = await published()
    const { blobs, metadata } = running.server.context
    const read = blobs.read.bind(blobs)
    let goOn = (): void => undefined
    const gate = new Promise<void>((resolve) => {
      goOn = resolve
    })
    blobs.read = async (...of) => {
      await gate
      return read(...of)
    }
    const headers = {
      authorization: `Bearer ${await running.token(['releases:read'])}`,
      'content-type': 'application/json',
    }
    const path = `${running.url}/v1/products/metin2/channels/stable/releases/${release.model.version}:verify`
    const verify = async (body: string) =>
      (await (await fetch(path, { method: 'POST', headers, body })).json()) as {
        id: string
        state: string
        code?: string
      }
    const look = async (id: string) =>
      (await (await fetch(`${running.url}/v1/products/metin2/checks/${id}`, { headers })).json()) as { state: string }
    const whole = await verify('{}')
    expect((await verify('{}')).id).toBe(whole.id)
    const samples: { id: string; code?: string }[] = []
    for (let sample = 1; sample <= 16; sample++) samples.push(await verify(JSON.stringify({ sample })))
    expect(samples.map(({ code }) => code)).toEqual([...Array<undefined>(15), 'SRV_RATE'])
    const last = samples[14]?.id ?? ''
    // What other replicas see: only what is stored.
    const beat = async () =>
      ((await metadata.get('checks', `metin2/${last}`))!.value as unknown as { beat_ms: number }).beat_ms
    const before = await beat()
    later(61_000)
    expect([await look(whole.id), await look(last)]).toMatchObject([{ state: 'running' }, { state: 'running' }])
    await expect.poll(beat, { timeout: 60_000 }).toBeGreaterThan(before)
    goOn()
    for (const id of [whole.id, last])
      await expect.poll(async () => (await look(id)).state, { timeout: 60_000 }).toBe('done')
    expect((await client.audit({ action: 'release.verify', limit: 100 })).length).toBeLessThanOrEqual(16)
  })

  it('one bad read sets nothing aside', async () => {
    const { running, client, release } = await published()
    const { blobs } = running.server.context
    const read = blobs.read.bind(blobs)
    const seen = new Set<string>()
    blobs.read = async (name, ...more) => {
      const first = !seen.has(name)
      seen.add(name)
      return first && name !== release.pin.sha256
        ? (async function* () {
            yield new Uint8Array(3)
          })()
        : read(name, ...more)
    }
    expect(await client.checkRelease('metin2', 'stable', release.model.version)).toMatchObject({
      sound: true,
      damaged: [],
    })
  })
})

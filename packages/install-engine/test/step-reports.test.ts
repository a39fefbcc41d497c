import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { reportAddress } from '../src/step-reports.ts'
import type { EngineOptions, Fetch } from '../src/index.ts'
import { engineFor, treeFetch } from './support/install.ts'
import { Publisher } from './support/publisher.ts'

const quiet = { stdio: ['ignore', 'ignore', 'ignore'] as const }

interface Post {
  readonly url: string
  readonly body: Record<string, unknown>
  readonly headers: Headers
}

/** A server that takes reports; `answer` is what it says to one. */
function listening(publisher: Publisher, answer: () => Promise<Response> = async () => new Response(null)) {
  const posts: Post[] = []
  const tree = treeFetch(publisher.tree)
  const fetch: Fetch = async (url, init) => {
    if (init.method !== 'POST') return await tree(url, init)
    posts.push({ url, body: JSON.parse(String(init.body)) as Post['body'], headers: new Headers(init.headers) })
    return await answer()
  }
  const steps = (version?: string) =>
    posts
      .filter(({ body }) => version === undefined || body['version'] === version)
      .map(({ body }) =>
        body['code'] === undefined ? body['step'] : `${String(body['step'])} ${String(body['code'])}`,
      )
  return { posts, fetch, steps }
}

const living = 'setTimeout(() => process.exit(0), 1600)'
const dying = 'process.exit(3)'
const options: Partial<EngineOptions> = {
  program: ['client.mjs'],
  reports: true,
  confirmAfterMs: 60,
  playedAfterMs: 900,
}

describe('step reports', () => {
  it('tell how far an update got: product, channel, version and step, once, and nothing else', async () => {
    const publisher = await Publisher.create()
    const first = await publisher.release({ 'client.mjs': living, 'edition.txt': 'one' })
    const { posts, fetch, steps } = listening(publisher)
    const { engine } = await engineFor(publisher, { fetch, ...options, product: 'metin2' })
    await engine.update()
    const { exited } = await engine.launch({ update: false, ...quiet })
    await exited
    await vi.waitFor(() => expect(steps()).toEqual(['started', 'downloaded', 'swapped', 'confirmed', 'played']))
    // The second start, and an update that finds nothing, say nothing more.
    await engine.update()
    await (
      await engine.launch({ update: false, ...quiet })
    ).exited
    expect(posts).toHaveLength(5)
    for (const { url, body, headers } of posts) {
      expect(url).toMatch(/^https?:\/\/[^/]+\/v1\/reports$/)
      expect(Object.keys(body)).toEqual(['product', 'channel', 'version', 'step'])
      expect(body).toMatchObject({ product: 'metin2', channel: 'stable', version: first.model.version })
      expect([...headers.keys()]).toEqual(['content-type'])
    }
    const second = await publisher.release({ 'client.mjs': living, 'edition.txt': 'two' })
    await engine.update()
    await vi.waitFor(() => expect(steps(second.model.version)).toEqual(['started', 'downloaded', 'swapped']))
  })

  it('tell that a start did not live, with its code, until one does', async () => {
    const publisher = await Publisher.create()
    await publisher.release({ 'client.mjs': dying })
    const { fetch, steps } = listening(publisher)
    const { engine } = await engineFor(publisher, { fetch, ...options, confirmAfterMs: 30_000, playedAfterMs: 30_000 })
    await engine.update()
    for (let start = 0; start < 2; start++) {
      const { confirmed, exited } = await engine.launch({ update: false, ...quiet })
      expect([await confirmed, await exited]).toEqual([false, 3])
    }
    await vi.waitFor(() =>
      expect(steps()).toEqual(['started', 'downloaded', 'swapped', 'start-failed LA_RELEASE_FAILED']),
    )
  })

  it('tell why an update failed, and not that the player wanted it otherwise', async () => {
    const publisher = await Publisher.create()
    const first = await publisher.release({ 'client.mjs': living, 'a.txt': 'one' })
    const { fetch, steps } = listening(publisher)
    const { engine } = await engineFor(publisher, { fetch, ...options })
    await engine.update()
    await vi.waitFor(() => expect(steps(first.model.version)).toHaveLength(3))
    const second = await publisher.release({ 'client.mjs': living, 'a.txt': 'two' })
    await expect(engine.update({ mayDownload: () => false })).rejects.toMatchObject({ code: 'LA_NOT_NOW' })
    await expect(engine.update({ signal: AbortSignal.abort() })).rejects.toThrow()
    await engine.update({ dryRun: true })
    expect(steps(second.model.version)).toEqual([])
    const blobs = [...publisher.tree.keys()].filter((path) => path.startsWith('files/'))
    for (const path of blobs) publisher.tree.set(path, new Uint8Array(publisher.tree.get(path)?.length ?? 0))
    await expect(engine.update()).rejects.toMatchObject({ code: 'LA_HASH' })
    await vi.waitFor(() => expect(steps(second.model.version)).toEqual(['started', 'failed LA_HASH']))
  })

  it('are off by default, and nothing on disk turns them on but the settings', async () => {
    const publisher = await Publisher.create()
    await publisher.release({ 'client.mjs': living })
    const { posts, fetch } = listening(publisher)
    const { engine } = await engineFor(publisher, { fetch, ...options, reports: undefined })
    await engine.update()
    await (
      await engine.launch({ update: false, ...quiet })
    ).exited
    expect(posts).toEqual([])
  })

  it('keep nobody waiting and break nothing when the server hangs, or what was reported cannot be read', async () => {
    const publisher = await Publisher.create()
    await publisher.release({ 'client.mjs': living })
    const { fetch, steps } = listening(publisher, () => new Promise(() => undefined))
    const { engine, folder } = await engineFor(publisher, { fetch, ...options })
    await engine.update()
    expect(await (await engine.launch({ update: false, ...quiet })).exited).toBe(0)
    const good = listening(publisher)
    const again = await engineFor(publisher, { fetch: good.fetch, ...options, folder })
    await writeFile(join(folder, '.updates', 'reported.json'), 'not json')
    await publisher.release({ 'client.mjs': living, 'a.txt': 'new' })
    await again.engine.update()
    await vi.waitFor(() => expect(good.steps()).toEqual(['started', 'downloaded', 'swapped']))
    expect(steps()).toEqual(['started'])
  })
})

it('reportAddress() finds the server of an address of one product', () => {
  expect(reportAddress('https://updates.example.org')).toBe('https://updates.example.org/v1/reports')
  expect(reportAddress('https://updates.example.org/p/game/')).toBe('https://updates.example.org/v1/reports')
  expect(reportAddress('https://example.org/updates/p/game')).toBe('https://example.org/updates/v1/reports')
})

import { describe, expect, it } from 'vitest'
import type { Fetch } from '../src/index.ts'
import { engineFor, expectedText, offline, temporaryFolder, treeFetch, treeText } from './support/install.ts'
import { DAY, keyId, noise, NOW, Publisher, sha256Hex } from './support/publisher.ts'

const first = { 'a.txt': 'one', 'pack/a.bin': noise(900_000, 3), 'old.txt': 'old' }
const second = { 'a.txt': 'two', 'pack/a.bin': noise(900_000, 5) }

describe('a download that breaks', () => {
  it('goes on where it stopped after a restart, fetching less than a piece twice', async () => {
    const publisher = await Publisher.create()
    const big = noise(6_000_000, 9)
    const made = await publisher.release({ 'big.bin': big }, { index: false })
    const folder = await temporaryFolder()
    let left = 4_000_000
    const breaking: Fetch = async (url, init) => {
      const answer = await treeFetch(publisher.tree)(url, init)
      if (!url.includes('/files/')) return answer
      const body = new ReadableStream<Uint8Array>({
        async start(controller) {
          for await (const part of answer.body ?? []) {
            left -= part.length
            if (left < 0) return controller.error(new Error('cut'))
            controller.enqueue(part)
            await new Promise((resolve) => setTimeout(resolve, 1))
          }
          controller.close()
        },
      })
      return new Response(body, { status: answer.status, headers: answer.headers })
    }
    const broken = await engineFor(publisher, {
      folder,
      fetch: breaking,
      retry: { tries: 1, firstPauseMs: 1, longestPauseMs: 1 },
    })
    await expect(broken.engine.update()).rejects.toMatchObject({ code: 'LA_NETWORK' })
    const again = await engineFor(publisher, { folder })
    const { downloadedBytes } = await again.engine.update()
    expect(downloadedBytes).toBeLessThanOrEqual(6_000_000 - 4_000_000 + 1_100_000)
    expect(await treeText(folder)).toBe(expectedText(made.files, sha256Hex))
  })
})

describe('mirrors', () => {
  it('serve blobs; one that sends wrong bytes is left alone, and the server itself is the last resort', async () => {
    const publisher = await Publisher.create()
    const made = await publisher.release(first, {
      head: (head) => ({
        ...head,
        mirrors: [
          { url: 'http://liar.test/', weight: 1 },
          { url: 'http://good.test/', weight: 1 },
        ],
      }),
    })
    const hosts: string[] = []
    const fetch: Fetch = async (url, init) => {
      const { hostname } = new URL(url)
      hosts.push(`${hostname}${url.includes('/files/') ? ' blob' : ''}`)
      const answer = await treeFetch(publisher.tree)(url, init)
      if (hostname !== 'liar.test') return answer
      const bytes = new Uint8Array(await answer.arrayBuffer()).map((byte) => byte ^ 1)
      return new Response(bytes, { status: answer.status, headers: answer.headers })
    }
    const { engine, folder } = await engineFor(publisher, { fetch })
    await engine.update()
    expect(await treeText(folder)).toBe(expectedText(made.files, sha256Hex))
    expect(hosts.filter((host) => host === 'liar.test' || host === 'good.test')).toEqual([])
    expect(hosts.some((host) => host === 'good.test blob')).toBe(true)
  })
})

describe('mirrors and documents', () => {
  it('documents come from a mirror when the server is down', async () => {
    const publisher = await Publisher.create()
    const head = (head: import('@keyturn/manifest').Head) => ({
      ...head,
      mirrors: [{ url: 'http://good.test/', weight: 1 }],
    })
    await publisher.release(first, { head })
    const { engine, folder } = await engineFor(publisher)
    await engine.update()
    const made = await publisher.release(second, { head })
    const down: Fetch = (url, init) =>
      new URL(url).hostname === 'good.test' ? treeFetch(publisher.tree)(url, init) : offline(url, init)
    const { engine: again } = await engineFor(publisher, { folder, fetch: down })
    expect(await again.update()).toMatchObject({ outcome: 'updated', version: made.model.version })
  })

  it('a server that hides a rotation is found out by a mirror', async () => {
    const publisher = await Publisher.create()
    const head = (head: import('@keyturn/manifest').Head) => ({
      ...head,
      mirrors: [{ url: 'http://good.test/', weight: 1 }],
    })
    const made = await publisher.release(first, { head })
    const { engine, folder } = await engineFor(publisher)
    await engine.update()
    const hiding = new Map(publisher.tree)
    await publisher.rotate((roles) => ({
      roles: { ...roles.roles, release: { keys: [keyId('release 2')], threshold: 1 } },
      revokedKeys: [keyId('release 1')],
    }))
    await publisher.head(await publisher.resign(made, ['release 2']), { head })
    const wire: Fetch = (url, init) =>
      treeFetch(new URL(url).hostname === 'good.test' ? publisher.tree : hiding)(url, init)
    const later = await engineFor(publisher, { folder, fetch: wire, clock: () => NOW + 2 * DAY })
    await expect(later.engine.update()).rejects.toMatchObject({
      code: expect.stringMatching(/^(TRUST|MAN)_/) as string,
    })
    expect(await later.engine.status()).toMatchObject({ trust: 'barred' })
  })
})

import { describe, expect, it } from 'vitest'
import type { EngineOptions, Fetch } from '../src/index.ts'
import { engineFor, expectedText, treeFetch, treeText } from './support/install.ts'
import { noise, Publisher, sha256Hex } from './support/publisher.ts'

const files = { 'a.txt': 'one', 'pack/a.bin': noise(900_000, 3), 'pack/b.bin': noise(700_000, 4) }
const lan = { url: 'http://cache.lan/', weight: 0, scope: 'lan' as const }
/** The name service of a network where somebody runs the cache. */
const here = (): Promise<readonly string[]> => Promise.resolve(['192.168.1.9'])
const wan = { url: 'http://mirror.test/', weight: 1 }

/** One install, where a host of the player's own network answers as the test says. */
async function install(answer: (fetch: Fetch) => Fetch, options: Partial<EngineOptions> = {}) {
  const publisher = await Publisher.create()
  const made = await publisher.release(files, { head: (head) => ({ ...head, mirrors: [wan, lan] }) })
  const asked: { host: string; isBlob: boolean }[] = []
  const plain = treeFetch(publisher.tree)
  const fetch: Fetch = async (url, init) => {
    const { hostname } = new URL(url)
    asked.push({ host: hostname, isBlob: url.includes('/files/') })
    return await (hostname === 'cache.lan' ? answer(plain) : plain)(url, init)
  }
  const { engine, folder } = await engineFor(publisher, { fetch, resolveHost: here, ...options })
  const result = await engine.update()
  expect(await treeText(folder)).toBe(expectedText(made.files, sha256Hex))
  const blobs = (host: string): number => asked.filter((entry) => entry.host === host && entry.isBlob).length
  return { asked, blobs, result }
}

describe('a host of the player’s own network', () => {
  it('brings every file, and not one document that says what to trust', async () => {
    const { asked, blobs } = await install((plain) => plain)
    expect(blobs('cache.lan')).toBeGreaterThan(0)
    expect(blobs('mirror.test') + blobs('releases.test')).toBe(0)
    expect(asked.filter(({ host, isBlob }) => host === 'cache.lan' && !isBlob)).toEqual([])
  })

  it('that is not there is asked by no more than the requests that are under way, then left alone', async () => {
    const { blobs } = await install(
      () => () => Promise.reject(new TypeError('fetch failed', { cause: new Error('no route') })),
      { connections: 1 },
    )
    expect(blobs('cache.lan')).toBe(1)
    expect(blobs('mirror.test')).toBeGreaterThan(0)
  })

  it('that sends other bytes is found out at once, and left alone', async () => {
    const { blobs } = await install(
      (plain) => async (url, init) => {
        const answer = await plain(url, init)
        const bytes = new Uint8Array(await answer.arrayBuffer()).map((byte) => byte ^ 1)
        return new Response(bytes, { status: answer.status, headers: answer.headers })
      },
      { connections: 1 },
    )
    expect(blobs('cache.lan')).toBe(1)
  })

  it('that sends other bytes of a file without a list of pieces costs that file once', async () => {
    const publisher = await Publisher.create()
    const made = await publisher.release(files, { index: false, head: (head) => ({ ...head, mirrors: [lan] }) })
    let lies = 0
    const fetch: Fetch = async (url, init) => {
      const answer = await treeFetch(publisher.tree)(url, init)
      if (!url.startsWith(lan.url)) return answer
      lies += 1
      const bytes = new Uint8Array(await answer.arrayBuffer()).map((byte) => byte ^ 1)
      return new Response(bytes, { status: answer.status, headers: answer.headers })
    }
    const { engine, folder } = await engineFor(publisher, { fetch, resolveHost: here, connections: 1 })
    await engine.update()
    expect(await treeText(folder)).toBe(expectedText(made.files, sha256Hex))
    expect(lies).toBe(1)
  })

  it('that goes silent in the middle costs two seconds', async () => {
    let silent = 0
    const { blobs } = await install(
      () => async (_, init) => {
        silent += 1
        return await new Promise((_resolve, reject) => {
          init.signal?.addEventListener('abort', () => reject(init.signal?.reason as Error), { once: true })
        })
      },
      { connections: 1 },
    )
    expect([silent, blobs('cache.lan')]).toEqual([1, 1])
  })

  it('that lacks a file is asked for the next one', async () => {
    const missing = sha256Hex(files['pack/a.bin'])
    const { blobs, result } = await install(
      (plain) => async (url, init) =>
        url.endsWith(missing) ? new Response('', { status: 404 }) : await plain(url, init),
      { connections: 1 },
    )
    expect(blobs('mirror.test')).toBeGreaterThan(0)
    expect(blobs('cache.lan')).toBeGreaterThan(2)
    expect(result.outcome).toBe('updated')
  })

  it('that this machine names needs no word of the publisher', async () => {
    const publisher = await Publisher.create()
    await publisher.release(files)
    const hosts: string[] = []
    const fetch: Fetch = async (url, init) => {
      hosts.push(new URL(url).hostname)
      return await treeFetch(publisher.tree)(url, init)
    }
    const { engine } = await engineFor(publisher, { fetch, lanMirror: 'http://192.168.1.9:8080/' })
    await engine.update()
    expect(hosts.includes('192.168.1.9')).toBe(true)
  })

  it('that has one name for all is asked only where the name leads to a private address (row 379)', async () => {
    const near = [['10.1.2.3'], ['172.16.0.1', 'fd00::1'], ['192.168.0.7'], ['fe80::1'], ['100.64.3.2'], ['127.0.0.1']]
    const far = [[], ['203.0.113.9'], ['10.0.0.1', '203.0.113.9'], ['2001:db8::1'], ['172.32.0.1'], ['not an address']]
    for (const addresses of [...near, ...far]) {
      const names: string[] = []
      const { blobs, result } = await install((plain) => plain, {
        resolveHost: (name) => {
          names.push(name)
          return Promise.resolve(addresses)
        },
      })
      const isNear = near.includes(addresses)
      expect([addresses, result.outcome, new Set(names)]).toEqual([addresses, 'updated', new Set(['cache.lan'])])
      expect([addresses, blobs('cache.lan') > 0, blobs('mirror.test') > 0]).toEqual([addresses, isNear, !isNear])
    }
  })

  it('that no name service knows, or that a name service is silent about, costs no request (row 379)', async () => {
    const unknown = await install((plain) => plain, {
      resolveHost: () => Promise.reject(Object.assign(new Error('getaddrinfo'), { code: 'ENOTFOUND' })),
    })
    expect(unknown.blobs('cache.lan')).toBe(0)
    let lookups = 0
    const silent = await install((plain) => plain, {
      connections: 1,
      resolveHost: () => {
        lookups += 1
        return new Promise(() => undefined)
      },
    })
    expect([silent.blobs('cache.lan'), silent.result.outcome, lookups]).toEqual([0, 'updated', 1])
  })

  it('that answers under the name and lies is found out as under an address (row 379)', async () => {
    const { blobs, result } = await install(
      () => () => Promise.resolve(new Response(new Uint8Array(1_000_000), { status: 200 })),
      { connections: 1 },
    )
    expect([blobs('cache.lan'), result.outcome]).toEqual([1, 'updated'])
  })
})

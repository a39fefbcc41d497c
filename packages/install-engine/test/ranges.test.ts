import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { Fetch } from '../src/index.ts'
import { engineFor, expectedText, treeFetch, treeText } from './support/install.ts'
import { noise, Publisher, sha256Hex } from './support/publisher.ts'

/** What a server answers to a request for a part. */
type Odd = (bytes: Uint8Array, start: number, end: number) => Response

const part = (body: Uint8Array, range: string): Response =>
  new Response(Uint8Array.from(body), { status: 206, headers: { 'content-range': range } })

const REFUSED = [400, 403, 405, 416, 501].map((status): [string, Odd] => [
  `refused with ${status}`,
  () => new Response('no', { status }),
])
const ODD: readonly (readonly [string, Odd])[] = [
  ...REFUSED,
  ['answered without the length of the file', (bytes, a, b) => part(bytes.slice(a, b), `bytes ${a}-${b - 1}/*`)],
  [
    'answered with a shorter part',
    (bytes, a, b) => {
      const end = Math.min(b, a + 50_000)
      return part(bytes.slice(a, end), `bytes ${a}-${end - 1}/${bytes.length}`)
    },
  ],
  ['answered with another part', (bytes, a, b) => part(bytes.slice(a, b), `bytes ${a + 1}-${b}/${bytes.length}`)],
  ['answered with several parts', (bytes, a, b) => part(bytes.slice(a, b), 'multipart')],
  ['answered with the whole file', (bytes) => new Response(Uint8Array.from(bytes), { status: 200 })],
]

function oddFetch(publisher: Publisher, odd: Odd, counts: { ranges: number; plain: number }): Fetch {
  return async (url, init) => {
    const path = new URL(url).pathname.slice(1)
    const match = /^bytes=(\d+)-(\d+)$/.exec(new Headers(init.headers).get('range') ?? '')
    const bytes = publisher.tree.get(path)
    if (match === null || bytes === undefined) {
      if (path.startsWith('files/')) counts.plain += 1
      return await treeFetch(publisher.tree)(url, init)
    }
    counts.ranges += 1
    return odd(bytes, Number(match[1]), Math.min(Number(match[2]) + 1, bytes.length))
  }
}

const big = noise(1_500_000, 3)
function changed(): Uint8Array {
  const bytes = big.slice()
  bytes.set(noise(100, 9), 300_000)
  bytes.set(noise(100, 8), 1_200_000)
  return bytes
}

describe('update() from a server whose parts of files are', () => {
  for (const [what, odd] of ODD) {
    it(`${what}: what comes whole is asked for without a range, and a delta ends in one plain request (row 309)`, async () => {
      const publisher = await Publisher.create()
      await publisher.release({ 'big.bin': big, 'b.bin': noise(300_000, 4) })
      const counts = { ranges: 0, plain: 0 }
      const { engine, folder } = await engineFor(publisher, { fetch: oddFetch(publisher, odd, counts) })
      await engine.update()
      expect(counts).toEqual({ ranges: 0, plain: 2 })
      const { files } = await publisher.release({ 'big.bin': changed(), 'b.bin': noise(300_000, 4) })
      await engine.update()
      expect(await treeText(folder)).toBe(expectedText(files, sha256Hex))
      expect(counts.ranges).toBeGreaterThan(0)
      expect(counts.ranges + counts.plain).toBeLessThan(12)
    })
  }

  it('right but for one flipped bit: that piece is fetched again, and what came is kept (row 309)', async () => {
    const publisher = await Publisher.create()
    await publisher.release({ 'big.bin': big })
    const { folder } = await engineFor(publisher)
    await (await engineFor(publisher, { folder })).engine.update()
    const next = changed()
    const { files } = await publisher.release({ 'big.bin': next })
    const address = `files/${sha256Hex(next).slice(0, 2)}/${sha256Hex(next)}`
    const flipped = next.slice()
    flipped[1_200_000] = (flipped[1_200_000] as number) ^ 1
    const ranges: (string | null)[] = []
    const fetch: Fetch = async (url, init) => {
      if (!url.endsWith(address)) return await treeFetch(publisher.tree)(url, init)
      const range = new Headers(init.headers).get('range')
      const isFirst = !ranges.includes(range)
      ranges.push(range)
      return await treeFetch(isFirst ? new Map([[address, flipped]]) : publisher.tree)(url, init)
    }
    const { engine } = await engineFor(publisher, { fetch, folder })
    await engine.update()
    expect(await treeText(folder)).toBe(expectedText(files, sha256Hex))
    expect(ranges).toHaveLength(3)
    expect(ranges).not.toContain(null)
  })

  /** Serves each address once with one bit flipped, then right; mirrors in `liars` always so. */
  function flipping(publisher: Publisher, liars: readonly string[] = []) {
    const asked: { host: string; path: string; range: string | null; cache: string | null }[] = []
    const fetch: Fetch = async (url, init) => {
      const { host, pathname } = new URL(url)
      const path = pathname.slice(1)
      const bytes = publisher.tree.get(path)
      if (!path.startsWith('files/') || bytes === undefined) return await treeFetch(publisher.tree)(url, init)
      const isFirst = !asked.some((each) => each.path === path)
      const headers = new Headers(init.headers)
      asked.push({ host, path, range: headers.get('range'), cache: headers.get('cache-control') })
      const at = Math.floor(bytes.length / 2)
      const flipped = bytes.map((byte, index) => (index === at ? byte ^ 1 : byte))
      const isWrong = liars.length === 0 ? isFirst : liars.includes(host)
      return await treeFetch(isWrong ? new Map([[path, flipped]]) : publisher.tree)(url, init)
    }
    return { fetch, asked }
  }

  it('no part of it, a first install with one flipped bit: only the wrong pieces come again (row 309)', async () => {
    const publisher = await Publisher.create()
    const { files } = await publisher.release({ 'big.bin': big, 'small.txt': 'a few bytes' })
    const { fetch, asked } = flipping(publisher)
    const { engine, folder } = await engineFor(publisher, { fetch })
    const { downloadedBytes } = await engine.update()
    expect(await treeText(folder)).toBe(expectedText(files, sha256Hex))
    const again = asked.filter(({ path }) => path.endsWith(sha256Hex(big)))
    expect(again).toMatchObject([{ range: null }, { range: expect.stringMatching(/^bytes=/), cache: 'no-cache' }])
    expect(downloadedBytes).toBeLessThan(big.length * 1.5)
  })

  it('wrong on every mirror: the wrong pieces, and small files, come from the server itself (row 309)', async () => {
    const publisher = await Publisher.create()
    const liar = { url: 'http://liar.test/', weight: 1 }
    const { files } = await publisher.release(
      { 'big.bin': big, 'small.txt': 'a few bytes' },
      { head: (head) => ({ ...head, mirrors: [liar] }) },
    )
    const { fetch, asked } = flipping(publisher, ['liar.test'])
    const { engine, folder } = await engineFor(publisher, { fetch })
    await engine.update()
    expect(await treeText(folder)).toBe(expectedText(files, sha256Hex))
    const hosts = asked
      .filter(({ path }) => path.endsWith(sha256Hex(big)))
      .map(({ host, range }) => [host, range !== null])
    expect(hosts).toEqual([
      ['liar.test', false],
      [expect.not.stringMatching('liar'), true],
    ])
  })

  it('wrong everywhere: refused after a bounded number of requests, and nothing is left of it (row 309)', async () => {
    const publisher = await Publisher.create()
    await publisher.release({ 'big.bin': big })
    const { fetch, asked } = flipping(publisher, [new URL('http://server.test').host])
    const { engine, folder } = await engineFor(publisher, {
      fetch: async (url, init) => {
        const { pathname } = new URL(url)
        return await fetch(url.includes(sha256Hex(big)) ? `http://server.test${pathname}` : url, init)
      },
    })
    await expect(engine.update()).rejects.toMatchObject({ code: 'LA_HASH' })
    expect(asked.filter(({ host }) => host === 'server.test').length).toBeLessThanOrEqual(4)
    expect(await readdir(join(folder, '.updates/staging'))).toEqual([])
  })

  it('broken off goes on with a range at the first piece that is missing (row 309)', async () => {
    const publisher = await Publisher.create()
    const long = noise(6_000_000, 5)
    await publisher.release({ 'long.bin': long })
    const ranges: (string | null)[] = []
    const fetch: Fetch = async (url, init) => {
      const answer = await treeFetch(publisher.tree)(url, init)
      if (!url.includes(sha256Hex(long))) return answer
      ranges.push(new Headers(init.headers).get('range'))
      if (ranges.length > 1) return answer
      const reader = answer.body?.getReader()
      let left = 5_000_000
      const body = new ReadableStream<Uint8Array>({
        async pull(controller) {
          const { value } = (await reader?.read()) ?? { value: undefined }
          left -= value?.length ?? 0
          if (left < 0 || value === undefined) return controller.error(new Error('cut'))
          controller.enqueue(value)
        },
      })
      return new Response(body, { status: 200, headers: answer.headers })
    }
    const { engine } = await engineFor(publisher, { fetch })
    await engine.update()
    expect(ranges[0]).toBeNull()
    expect(ranges[1]).toMatch(/^bytes=[1-9]\d+-/)
  })
})

import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Fetch } from '../src/index.ts'
import { nodeFetch } from '../src/fetch/node-fetch.ts'
import { engineFor, expectedText, offline, treeFetch, treeText } from './support/install.ts'
import { DAY, noise, NOW, Publisher, sha256Hex } from './support/publisher.ts'

const patience = { tries: 5, firstPauseMs: 1, longestPauseMs: 2 }
const big = noise(3_000_000, 9)

let deaf: string
let plain: { readonly address: string; readonly close: () => Promise<void> }
beforeAll(async () => {
  const server = createServer((_, response) => void response.end('plain'))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const gone = createServer()
  await new Promise<void>((resolve) => gone.listen(0, '127.0.0.1', resolve))
  deaf = `http://127.0.0.1:${(gone.address() as AddressInfo).port}/`
  await new Promise((resolve) => void gone.close(resolve))
  plain = {
    address: `127.0.0.1:${port}`,
    close: async () => await new Promise((resolve) => void server.close(() => resolve())),
  }
})
afterAll(async () => plain.close())

describe('a server that cannot be reached', () => {
  it.each([
    ['a name that nobody has', () => 'http://releases.invalid/'],
    ['a port where nobody listens', () => deaf],
    ['a server that speaks no TLS', () => `https://${plain.address}/`],
  ])('%s is LA_NETWORK after five tries, and nothing is changed (row 189)', async (_, address) => {
    const publisher = await Publisher.create()
    let attempts = 0
    const counted: Fetch = async (url, init) => {
      attempts += 1
      return await nodeFetch(url, init)
    }
    const { engine, folder } = await engineFor(publisher, { server: address(), fetch: counted, retry: patience })
    await expect(engine.update()).rejects.toMatchObject({ code: 'LA_NETWORK', kind: 'io' })
    expect(attempts).toBe(5)
    expect(await treeText(folder)).toBe('')
  })

  it('is no reason to say yes to nobody: the first start says LA_NETWORK, a later one plays (row 188)', async () => {
    const publisher = await Publisher.create()
    await publisher.release({ 'client.mjs': 'process.exit(0)' })
    const none = await engineFor(publisher, { fetch: offline, program: ['client.mjs'] })
    await expect(none.engine.launch()).rejects.toMatchObject({ code: 'LA_NETWORK' })
    const { engine, folder } = await engineFor(publisher, { program: ['client.mjs'] })
    await engine.update()
    const away = await engineFor(publisher, { folder, fetch: offline, program: ['client.mjs'] })
    const started = await away.engine.launch({ stdio: ['ignore', 'ignore', 'ignore'] })
    expect([started.offline, await started.exited]).toEqual([true, 0])
  })
})

describe('a status', () => {
  it.each([
    [404, 1],
    [410, 1],
    [500, 5],
    [503, 5],
    [429, 5],
  ])('%i is asked %i times (row 190)', async (status, times) => {
    const publisher = await Publisher.create()
    await publisher.release({ 'big.bin': big }, { index: false })
    let asked = 0
    const refusing: Fetch = async (url, init) => {
      if (!url.includes('/files/')) return await treeFetch(publisher.tree)(url, init)
      asked += 1
      return new Response('', { status, headers: { 'retry-after': '0' } })
    }
    const { engine, folder } = await engineFor(publisher, { fetch: refusing, retry: patience })
    await expect(engine.update()).rejects.toMatchObject({ code: 'LA_HTTP_STATUS', details: { status } })
    expect(asked).toBe(times)
    expect(await treeText(folder)).toBe('')
  })

  it('with a Retry-After over half a minute ends the run instead of holding it (row 190)', async () => {
    const publisher = await Publisher.create()
    await publisher.release({ 'a.txt': 'a' })
    let asked = 0
    const busy: Fetch = async () => {
      asked += 1
      return await Promise.resolve(new Response('', { status: 503, headers: { 'retry-after': '31' } }))
    }
    const { engine } = await engineFor(publisher, { fetch: busy, retry: { ...patience, longestPauseMs: 30_000 } })
    await expect(engine.update()).rejects.toMatchObject({ code: 'LA_HTTP_STATUS' })
    expect(asked).toBe(1)
  })
})

/** A server that breaks off after so many bytes of blobs. */
function breakingAfter(tree: Publisher['tree'], bytes: number): Fetch {
  let left = bytes
  return async (url, init) => {
    const answer = await treeFetch(tree)(url, init)
    if (!url.includes('/files/')) return answer
    const parts = answer.body?.getReader()
    const body = new ReadableStream<Uint8Array>(
      {
        async pull(controller) {
          const { value, done } = (await parts?.read()) ?? { value: undefined, done: true }
          if (done || value === undefined) return controller.close()
          left -= value.length
          if (left < 0) return controller.error(new Error('cut'))
          controller.enqueue(value)
        },
      },
      { highWaterMark: 0 },
    )
    return new Response(body, { status: answer.status, headers: answer.headers })
  }
}

describe('a download that was interrupted', () => {
  it('and whose blob changed between the requests is fetched once more from the start, then refused (row 196)', async () => {
    const publisher = await Publisher.create()
    const made = await publisher.release({ 'big.bin': big }, { index: false })
    const once = { tries: 1, firstPauseMs: 1, longestPauseMs: 1 }
    const broken = await engineFor(publisher, { fetch: breakingAfter(publisher.tree, 2_000_000), retry: once })
    await expect(broken.engine.update()).rejects.toMatchObject({ code: 'LA_NETWORK' })
    const { folder } = broken
    const address = `files/${sha256Hex(big).slice(0, 2)}/${sha256Hex(big)}`
    const lying = new Map(publisher.tree).set(address, noise(big.length, 99))
    const liar = await engineFor({ tree: lying, trust: publisher.trust }, { folder, retry: once })
    await expect(liar.engine.update()).rejects.toMatchObject({ code: 'LA_HASH', kind: 'auth' })
    const ranges = liar.served.filter(({ path }) => path === address).map(({ range }) => range)
    expect(ranges).toHaveLength(2)
    expect(ranges[0]).not.toMatch(/^bytes=0-/)
    expect(ranges[1]).toBeUndefined()
    expect(await readdir(join(folder, '.updates/staging'))).toEqual([])
    const { engine } = await engineFor(publisher, { folder })
    await engine.update()
    expect(await treeText(folder)).toBe(expectedText(made.files, sha256Hex))
  })

  it('leaves nothing behind for another release: what that one does not want is removed (row 200)', async () => {
    const publisher = await Publisher.create()
    await publisher.release({ 'big.bin': big }, { index: false })
    const { engine: broken, folder } = await engineFor(publisher, {
      fetch: breakingAfter(publisher.tree, 2_000_000),
      retry: { tries: 1, firstPauseMs: 1, longestPauseMs: 1 },
    })
    await expect(broken.update()).rejects.toMatchObject({ code: 'LA_NETWORK' })
    expect(await readdir(join(folder, '.updates/staging'))).toContain(`${sha256Hex(big)}.part`)
    // Half of one release under the name of another one's blob: its map speaks of other pieces.
    const next = noise(3_000_000, 10)
    await writeFile(join(folder, '.updates/staging', `${sha256Hex(next)}.part`), big)
    const made = await publisher.release({ 'big.bin': next }, { index: false })
    const { engine } = await engineFor(publisher, { folder })
    expect((await engine.update()).downloadedBytes).toBe(next.length)
    expect(await treeText(folder)).toBe(expectedText(made.files, sha256Hex))
    expect(await readdir(join(folder, '.updates/staging'))).toEqual([])
  })
})

describe('the clock of the machine', () => {
  it.each([
    ['back an hour', -DAY / 24],
    ['ahead a year', 365 * DAY],
    ['back ten years', -3650 * DAY],
  ])('that jumps %s in a download ends nothing early and holds nothing up (row 222)', async (_, jump) => {
    const publisher = await Publisher.create()
    const made = await publisher.release({ 'big.bin': big, 'pack/b.bin': noise(700_000, 4) })
    let now = NOW + 60_000
    const jumping: Fetch = async (url, init) => {
      if (url.includes('/files/')) now = NOW + 60_000 + jump
      return await treeFetch(publisher.tree)(url, init)
    }
    let requests = 0
    const counted: Fetch = async (url, init) => {
      requests += 1
      return await jumping(url, init)
    }
    const { engine, folder } = await engineFor(publisher, {
      fetch: counted,
      clock: () => now,
      bytesPerSecond: 50_000_000,
    })
    await mkdir(folder, { recursive: true })
    expect(await engine.update()).toMatchObject({ outcome: 'updated' })
    expect(await treeText(folder)).toBe(expectedText(made.files, sha256Hex))
    expect(requests).toBeLessThan(20) // nothing was given up and asked for again
  })
})

describe('a network that wants its users to sign in first', () => {
  const page = '\n<!DOCTYPE html><title>Welcome</title><h1>Sign in</h1>'
  it.each([
    [200, 'LA_REDIRECT', /web page/, /Sign in to this network/],
    [403, 'LA_HTTP_STATUS', /answers 403/, undefined],
    [407, 'LA_HTTP_STATUS', /the proxy answers 407/, /password for the proxy/],
    [511, 'LA_HTTP_STATUS', /the network answers 511/, /Sign in to this network/],
  ])(
    'and answers %i with a page refuses no release: what is installed plays (row 414)',
    async (status, code, words, hint) => {
      const publisher = await Publisher.create()
      await publisher.release({ 'game.mjs': 'process.exitCode = 0' })
      const { engine, folder } = await engineFor(publisher, { program: ['game.mjs'] })
      await engine.update()
      const portal: Fetch = () =>
        Promise.resolve(new Response(page, { status, headers: { 'content-type': 'text/html; charset=utf-8' } }))
      const there = await engineFor(publisher, { folder, program: ['game.mjs'], fetch: portal })
      const error = await there.engine.update().catch((thrown: unknown) => thrown as { hint?: string })
      expect(error).toMatchObject({ code, message: expect.stringMatching(words) })
      if (hint !== undefined) expect((error as { hint?: string }).hint).toMatch(hint)
      expect(await there.engine.status()).toMatchObject({ trust: 'current', refused: undefined })
      const { exited } = await there.engine.launch({ stdio: ['ignore', 'ignore', 'ignore'] })
      expect(await exited).toBe(0)
    },
  )
})

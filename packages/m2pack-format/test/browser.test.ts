import { hexEncode } from '@keyturn/primitives'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { createServer } from 'node:http'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { chromium } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { buildArchive, MemorySink, memorySource } from '../src/index.ts'
import { contentKey, publicKey, seed, slots } from './support/craft.ts'
import { variedFiles } from './support/tree.ts'

const browser =
  process.env['KEYTURN_CHROMIUM'] ??
  ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) => existsSync(path))
if (browser === undefined) console.info('skipped: no Chromium here; name one by KEYTURN_CHROMIUM')

const folder = (path: string): string => fileURLToPath(new URL(path, import.meta.url))
const roots: Readonly<Record<string, string>> = {
  '/m2pack/': folder('../dist/'),
  '/primitives/': folder('../../primitives/dist/'),
  '/zstd/': folder('../node_modules/@bokuweb/zstd-wasm/dist/web/'),
  '/elsewhere/': folder('../node_modules/@bokuweb/zstd-wasm/dist/web/'),
  '/noble/': folder('../../primitives/node_modules/@noble/'),
}

const importMap = {
  imports: {
    '@keyturn/primitives': '/primitives/index.js',
    '#backend': '/primitives/backend/portable.js',
    '#zstd': '/m2pack/zstd-portable.js',
    '@bokuweb/zstd-wasm': '/zstd/index.web.js',
    '@noble/': '/noble/',
  },
}

const page = `<!doctype html><meta charset="utf-8"><script type="importmap">${JSON.stringify(importMap)}</script><script type="module">
import { blobSource, buildArchive, MemorySink, memorySource, openArchive } from '/m2pack/index.js'
import { httpSource } from '/m2pack/web/index.js'
import { blake2b256, hexDecode, hexEncode, sha256 } from '@keyturn/primitives'
window.run = async ({ contentKeyHex, publicKeyHex, seedHex, slotHex, version }) => {
  const blob = await (await fetch('/archive-' + version + '.m2p')).blob()
  const contentKey = { keyId: 7, key: hexDecode(contentKeyHex) }
  const verifiers = new Map([[7, hexDecode(publicKeyHex)]])
  const archive = await openArchive(blobSource(blob), { verifiers, contentKey })
  const report = await archive.verify()
  const large = await archive.read('media/large.bin')
  const parts = []
  for await (const part of archive.stream('text/large.txt', { start: 65000, end: 70000 })) parts.push(...part)
  const refused = await openArchive(blobSource(blob), { verifiers, contentKey: { keyId: 7, key: new Uint8Array(32).fill(9) } }).catch((error) => error.code)
  const sink = new MemorySink()
  const options = { contentKey, signingSeed: hexDecode(seedHex), slots: new Map([[1, hexDecode(slotHex)]]), segmentSize: 65536, version }
  await buildArchive([{ path: 'a.bin', source: memorySource(large) }, { path: 'b', source: memorySource(new Uint8Array(0)) }], sink, options)
  return {
    files: archive.entries.length, ok: report.ok, checked: report.payloadsChecked, large: hexEncode(sha256(large)),
    range: hexEncode(sha256(new Uint8Array(parts))), refused, built: hexEncode(blake2b256(sink.bytes())),
  }
}
window.zstd = {
  url: () => ({ url: '/elsewhere/zstd.wasm' }),
  module: async () => ({ module: await WebAssembly.compileStreaming(fetch('/elsewhere/zstd.wasm')) }),
  bytes: async () => ({ bytes: new Uint8Array(await (await fetch('/elsewhere/zstd.wasm')).arrayBuffer()) }),
  missing: () => ({ url: '/nowhere/zstd.wasm' }),
}
window.open = async (publicKeyHex, version = 1, from = undefined) => {
  const verifiers = new Map([[7, hexDecode(publicKeyHex)]])
  const zstd = await window.zstd[from]?.()
  const archive = await openArchive(await httpSource('/archive-' + version + '.m2p'), { verifiers, zstd })
  return archive.entries.length
}
</script>`

const types: Readonly<Record<string, string>> = { js: 'text/javascript', wasm: 'application/wasm' }

/** A file below one of the roots, with the address it should have: imports without extension are sent on to theirs. */
function resolve(url: string): { path: string; moved: string | undefined } | undefined {
  const [prefix, root] = Object.entries(roots).find(([start]) => url.startsWith(start)) ?? []
  if (prefix === undefined || root === undefined) return undefined
  const path = root + decodeURIComponent(url.slice(prefix.length))
  for (const ending of ['', '.js', '/index.js']) {
    if (existsSync(path + ending) && statSync(path + ending).isFile())
      return { path: path + ending, moved: ending === '' ? undefined : url + ending }
  }
  return undefined
}

describe.skipIf(browser === undefined)('in a browser', () => {
  let server: Server
  const archives = new Map<string, Uint8Array>()
  let hasWasm = true

  beforeAll(async () => {
    const files = Object.entries(variedFiles()).map(([path, content]) => ({
      path,
      source: memorySource(new Uint8Array(Buffer.from(content))),
    }))
    for (const version of [1, 2] as const) {
      const sink = new MemorySink()
      const keys = { contentKey, signingSeed: seed, slots }
      await buildArchive(files, sink, { ...keys, version, segmentSize: 65_536, level: 12 })
      archives.set(`/archive-${version}.m2p`, sink.bytes())
    }
    server = createServer((request, response) => {
      const url = (request.url ?? '/').split('?')[0] as string
      if (url === '/') return void response.writeHead(200, { 'content-type': 'text/html' }).end(page)
      if (url === '/strict')
        return void response
          .writeHead(200, {
            'content-type': 'text/html',
            'content-security-policy': "default-src 'self'; script-src 'self' 'unsafe-inline'",
          })
          .end(page)
      const archive = archives.get(url)
      if (archive !== undefined) {
        const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(String(request.headers.range)) ?? []
        if (from === undefined)
          return void response.writeHead(200, { 'content-type': 'application/octet-stream' }).end(archive)
        const last = Math.min(Number(to), archive.length - 1)
        return void response
          .writeHead(206, { 'content-range': `bytes ${from}-${last}/${archive.length}`, etag: '"1"' })
          .end(archive.subarray(Number(from), last + 1))
      }
      if (url === '/zstd/zstd.wasm' && !hasWasm) return void response.writeHead(404).end()
      const { path, moved } = resolve(url) ?? {}
      if (path === undefined) return void response.writeHead(404).end()
      if (moved !== undefined) return void response.writeHead(302, { location: moved }).end()
      response
        .writeHead(200, { 'content-type': types[path.split('.').at(-1) ?? ''] ?? 'text/plain' })
        .end(readFileSync(path))
    })
    await new Promise<void>((done) => void server.listen(0, '127.0.0.1', done))
  })

  afterAll(() => void server?.close())

  it.each([1, 2] as const)(
    'the core opens, lists, verifies and reads an archive of version %i from a Blob, and builds the same bytes',
    async (version) => {
      const running = await chromium.launch({
        executablePath: browser as string,
        args: ['--no-sandbox', '--disable-gpu'],
        timeout: 120_000,
      })
      try {
        const tab = await running.newPage()
        tab.setDefaultTimeout(120_000)
        const errors: string[] = []
        tab.on('pageerror', (error) => errors.push(String(error)))
        tab.on('console', (message) => errors.push(message.text()))
        tab.on(
          'response',
          (response) => void (response.status() < 400 || errors.push(`${response.status()} ${response.url()}`)),
        )
        await tab.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
        await tab
          .waitForFunction('typeof window.run === "function"', undefined, { timeout: 120_000 })
          .catch((error: unknown) => {
            throw new Error(`The page did not load: ${errors.join('; ')}`, { cause: error })
          })
        const keys = {
          contentKeyHex: hexEncode(contentKey.key),
          publicKeyHex: hexEncode(publicKey),
          seedHex: hexEncode(seed),
          slotHex: hexEncode(slots.get(1) as Uint8Array),
          version,
        }
        const result = await tab.evaluate(`window.run(${JSON.stringify(keys)})`)
        expect(result).toEqual(await expected(version))
      } finally {
        await running.close()
      }
    },
  )

  // Listing waits for zstd, too: before, these waited forever.
  it.each([
    ['zstd.wasm is missing', '/', false],
    ['the Content-Security-Policy forbids WebAssembly', '/strict', true],
  ])('%s: the archive is refused with a code and a hint (P6)', async (_what, path, wasm) => {
    hasWasm = wasm
    const running = await chromium.launch({
      executablePath: browser as string,
      args: ['--no-sandbox', '--disable-gpu'],
    })
    try {
      const tab = await running.newPage()
      await tab.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`)
      await tab.waitForFunction('typeof window.open === "function" && window.run !== undefined')
      const result = await tab.evaluate(
        `window.open('${hexEncode(publicKey)}').then(String, ({ code, hint }) => ({ code, hint }))`,
      )
      expect(result).toEqual({
        code: 'M2P_ZSTD_UNAVAILABLE',
        hint: expect.stringMatching(/zstd\.wasm|wasm-unsafe-eval/),
      })
    } finally {
      hasWasm = true
      await running.close()
    }
  })

  // Where a bundler left the file out: each form is tried where the default would fail.
  it('zstd from an address, a module and bytes; what is missing is refused, and tried again', async () => {
    hasWasm = false
    const running = await chromium.launch({
      executablePath: browser as string,
      args: ['--no-sandbox', '--disable-gpu'],
    })
    try {
      const tab = await running.newPage()
      const found: unknown[] = []
      for (const from of ['url', 'module', 'bytes']) {
        await tab.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
        await tab.waitForFunction('window.run !== undefined')
        const open = (how: string): string => `window.open('${hexEncode(publicKey)}', 1, '${how}')`
        found.push(await tab.evaluate(`${open('missing')}.then(String, ({ code }) => code)`))
        found.push(await tab.evaluate(open(from)))
      }
      const count = Object.keys(variedFiles()).length
      const each = ['M2P_ZSTD_UNAVAILABLE', count]
      expect(found).toEqual([...each, ...each, ...each])
    } finally {
      hasWasm = true
      await running.close()
    }
  })

  it('httpSource() of the web entry opens an archive by ranges', async () => {
    const running = await chromium.launch({
      executablePath: browser as string,
      args: ['--no-sandbox', '--disable-gpu'],
    })
    try {
      const tab = await running.newPage()
      await tab.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
      await tab.waitForFunction('window.run !== undefined')
      for (const version of [1, 2])
        expect(await tab.evaluate(`window.open('${hexEncode(publicKey)}', ${version})`)).toBe(
          Object.keys(variedFiles()).length,
        )
    } finally {
      await running.close()
    }
  })

  async function expected(version: 1 | 2) {
    const { sha256, blake2b256 } = await import('@keyturn/primitives')
    const files = variedFiles()
    const large = files['media/large.bin'] as Uint8Array
    const sink = new MemorySink()
    const options = {
      contentKey,
      signingSeed: seed,
      slots: new Map([[1, slots.get(1) as Uint8Array]]),
      segmentSize: 65_536,
      version,
    }
    await buildArchive(
      [
        { path: 'a.bin', source: memorySource(large) },
        { path: 'b', source: memorySource(new Uint8Array(0)) },
      ],
      sink,
      options,
    )
    return {
      files: Object.keys(files).length,
      ok: true,
      checked: true,
      large: hexEncode(sha256(large)),
      range: hexEncode(sha256(Buffer.from(files['text/large.txt'] as string).subarray(65_000, 70_000))),
      refused: 'M2P_KEY_COMMITMENT',
      built: hexEncode(blake2b256(sink.bytes())),
    }
  }
})

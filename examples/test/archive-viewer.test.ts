import { existsSync, mkdirSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import type { Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { deflateSync } from 'node:zlib'
import { buildArchive, MemorySink, memorySource, openArchive } from '@keyturn/m2pack-format'
import { ed25519PublicKey, systemRandom, utf8Encode, Writer } from '@keyturn/primitives'
import { RuntimeKey, writeRuntimeKeyJson } from '@keyturn/runtime-key'
import { chromium } from 'playwright-core'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { serveViewer } from '../archive-viewer/serve.ts'

const program =
  process.env['KEYTURN_CHROMIUM'] ??
  ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) => existsSync(path))
if (program === undefined) console.info('skipped: no Chromium here; name one by KEYTURN_CHROMIUM')
/** Where the last look of the page is kept. */
const shots = join(import.meta.dirname, '../../test-results')

const crcTable = Array.from({ length: 256 }, (_, n) => {
  let c = n
  for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1
  return c >>> 0
})

function crc32(bytes: Uint8Array): number {
  let c = 0xffffffff
  for (const byte of bytes) c = (crcTable[(c ^ byte) & 0xff] ?? 0) ^ (c >>> 8)
  return (c ^ 0xffffffff) >>> 0
}

/** A picture of 64 by 64: a colour wheel of sorts. */
function png(): Uint8Array {
  const chunk = (name: string, body: Uint8Array): Uint8Array => {
    const typed = new Writer().bytes(utf8Encode(name)).bytes(body).finish()
    return new Writer().u32be(body.length).bytes(typed).u32be(crc32(typed)).finish()
  }
  const rows = new Writer()
  for (let y = 0; y < 64; y++) {
    rows.u8(0)
    for (let x = 0; x < 64; x++)
      rows
        .u8(x * 4)
        .u8(y * 4)
        .u8(255 - x * 2 - y * 2)
  }
  const header = new Writer().u32be(64).u32be(64).u8(8).u8(2).u8(0).u8(0).u8(0).finish()
  const signature = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a)
  const deflated = Uint8Array.from(deflateSync(rows.finish()))
  return new Writer()
    .bytes(signature)
    .bytes(chunk('IHDR', header))
    .bytes(chunk('IDAT', deflated))
    .bytes(chunk('IEND', new Uint8Array(0)))
    .finish()
}

describe.skipIf(program === undefined)('the archive viewer', () => {
  let folder = ''
  let server: Server
  let browser: Browser
  let tab: Page
  let url = ''
  const problems: string[] = []
  const asked: string[] = []

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'keyturn-viewer-'))
    const [seed, master] = [systemRandom(32), systemRandom(32)]
    const sink = new MemorySink()
    const files: Record<string, Uint8Array> = {
      'config/client.ini': utf8Encode('fullscreen = 1\nlanguage = čeština\n'),
      'data/model.bin': systemRandom(5000),
      'icons/wheel.png': png(),
      'text/story.txt': utf8Encode('Once upon a time there was a key.\n'.repeat(3000)),
      'text/empty.txt': new Uint8Array(0),
    }
    await buildArchive(
      Object.entries(files).map(([path, content]) => ({ path, source: memorySource(content) })),
      sink,
      { contentKey: { keyId: 4, key: master.slice() }, signingSeed: seed },
    )
    const keyFile = (masterKey: Uint8Array) =>
      writeRuntimeKeyJson(RuntimeKey.take({ keyId: 4, masterKey, signPublicKey: ed25519PublicKey(seed) }))
    const archive = sink.bytes()
    await writeFile(join(folder, 'game.m2p'), archive)
    const contentKey = { keyId: 4, key: master }
    const { offset } = (
      await openArchive(memorySource(archive), { verifiers: new Map([[4, ed25519PublicKey(seed)]]), contentKey })
    ).entry('data/model.bin')
    await writeFile(
      join(folder, 'damaged.m2p'),
      archive.map((byte, at) => (at === offset + 100 ? byte ^ 1 : byte)),
    )
    await writeFile(join(folder, 'runtime-key.json'), keyFile(master))
    await writeFile(join(folder, 'other-key.json'), keyFile(systemRandom(32)))
    ;({ server, url } = await serveViewer(0))
    browser = await chromium.launch({
      executablePath: program as string,
      args: ['--no-sandbox', '--disable-gpu'],
      timeout: 120_000,
    })
    tab = await browser.newPage({ viewport: { width: 1100, height: 720 } })
    tab.setDefaultTimeout(120_000)
    tab.on('pageerror', (error) => problems.push(String(error)))
    tab.on('console', (message) => problems.push(message.text()))
    tab.on('request', (request) => asked.push(request.url()))
  })

  afterAll(async () => {
    await browser?.close()
    server?.close()
    await rm(folder, { recursive: true, force: true })
  })

  const open = async (archive: string, key: string): Promise<void> => {
    await tab.goto(url)
    await tab.setInputFiles('#archive', join(folder, archive))
    await tab.setInputFiles('#key', join(folder, key))
    await tab.click('text=Open')
  }
  const message = async (pattern: RegExp): Promise<void> => {
    await tab.locator('#message', { hasText: pattern }).waitFor()
  }

  it('lists an archive, shows text, pictures and bytes, and verifies all of it', async () => {
    await open('game.m2p', 'runtime-key.json')
    await tab.locator('#summary', { hasText: '5 files' }).waitFor()
    expect(await tab.locator('#files tr').count()).toBe(5)
    await tab.click('tr[data-path="config/client.ini"]')
    await tab.locator('#preview pre', { hasText: 'language = čeština' }).waitFor()
    await tab.click('tr[data-path="data/model.bin"]')
    await tab.locator('#preview pre.hex', { hasText: '000000  ' }).waitFor()
    await tab.click('#verify')
    await message(/^All 5 files are what the publisher packed/)
    await tab.click('tr[data-path="icons/wheel.png"]')
    await tab.waitForFunction('document.querySelector("#preview img")?.naturalWidth === 64')
    await tab.click('#verify')
    await message(/^All 5 files/)
    mkdirSync(shots, { recursive: true })
    await tab.screenshot({ path: join(shots, 'archive-viewer.png') })
    await tab.fill('#filter', 'TEXT/')
    expect(await tab.locator('#files tr:visible').count()).toBe(2)
  })

  it('explains a wrong key, and names a damaged file', async () => {
    await open('game.m2p', 'other-key.json')
    await message(/M2P_KEY_COMMITMENT/)
    expect(await tab.locator('#contents').isVisible()).toBe(false)
    await open('damaged.m2p', 'runtime-key.json')
    await tab.locator('#summary', { hasText: '5 files' }).waitFor()
    await tab.click('#verify')
    await message(/1 file is damaged: data.model.bin/)
    await tab.screenshot({ path: join(shots, 'archive-viewer-damaged.png') })
  })

  it('requests nothing but its own four files, and logs no error', () => {
    expect(asked.filter((address) => !address.startsWith(url) && !address.startsWith('blob:'))).toEqual([])
    expect(problems).toEqual([])
  })
})

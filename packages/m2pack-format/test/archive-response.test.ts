import { ed25519PublicKey, systemRandom } from '@keyturn/primitives'
import * as built from '@keyturn/m2pack-format'
import { beforeAll, describe, expect, it } from 'vitest'
import { buildArchive, MemorySink, memorySource, openArchive } from '../src/index.ts'
import type { Archive } from '../src/index.ts'
import { archiveResponse, archiveStream } from '../src/web/index.ts'
import { handler } from '../examples/electron.ts'

const big = systemRandom(300_000)
const signingSeed = systemRandom(32)
const contentKey = { keyId: 1, key: systemRandom(32) }
const verifiers = new Map([[1, ed25519PublicKey(signingSeed)]])
const text = (value: string): Uint8Array => new TextEncoder().encode(value)
let bytes: Uint8Array
let archive: Archive

beforeAll(async () => {
  const sink = new MemorySink()
  const files = { 'a b/ü.html': text('<p>hello'), 'big.bin': big, 'empty.txt': text(''), index: text('x') }
  const entries = Object.entries(files).map(([path, content]) => ({ path, source: memorySource(content) }))
  await buildArchive(entries, sink, { contentKey, signingSeed, segmentSize: 65_536 })
  bytes = sink.bytes()
  archive = await openArchive(memorySource(bytes), { verifiers, contentKey })
})

const ask = (path: string, init: RequestInit = {}): Response =>
  archiveResponse(archive, new Request(`https://x.example/${path}`, init))
const part = (range: string): Response => ask('big.bin', { headers: { range } })

describe('archiveResponse()', () => {
  it('archiveResponse() answers with a file, its type and its length', async () => {
    const response = ask('a%20b/%C3%BC.html')
    expect(response.status).toBe(200)
    expect(response.headers.get('content-type')).toBe('text/html; charset=utf-8')
    expect(response.headers.get('content-length')).toBe('8')
    expect(response.headers.get('x-content-type-options')).toBe('nosniff')
    expect(await response.text()).toBe('<p>hello')
    expect(await ask('empty.txt').text()).toBe('')
    expect(ask('index').headers.get('content-type')).toBe('application/octet-stream')
    expect(new Uint8Array(await ask('big.bin').arrayBuffer())).toEqual(new Uint8Array(big))
  })

  it.each([
    ['bytes=0-9', 0, 10],
    ['bytes=65530-65545', 65_530, 65_546],
    ['bytes=299990-', 299_990, 300_000],
    ['bytes=299990-999999', 299_990, 300_000],
    ['bytes=-5', 299_995, 300_000],
  ])('archiveResponse() answers range %s with 206', async (range, start, end) => {
    const response = part(range)
    expect(response.status).toBe(206)
    expect(response.headers.get('content-range')).toBe(`bytes ${start}-${end - 1}/300000`)
    expect(response.headers.get('content-length')).toBe(String(end - start))
    expect(new Uint8Array(await response.arrayBuffer())).toEqual(new Uint8Array(big.slice(start, end)))
  })

  it('archiveResponse() refuses ranges that do not exist and ignores those it does not understand', async () => {
    expect(part('bytes=300000-').status).toBe(416)
    expect(part('bytes=300000-').headers.get('content-range')).toBe('bytes */300000')
    expect(part('bytes=-0').status).toBe(416)
    for (const range of ['bytes=9-1', 'bytes=0-1,4-5', 'lines=1-2', 'bytes=-']) expect(part(range).status).toBe(200)
  })

  it('archiveResponse() answers HEAD without a body, other methods with 405, other paths with 404', async () => {
    const head = ask('big.bin', { method: 'HEAD' })
    expect([head.status, head.headers.get('content-length'), await head.text()]).toEqual([200, '300000', ''])
    expect(ask('big.bin', { method: 'POST' }).status).toBe(405)
    for (const path of ['missing', '', '%E0%A4%A', '../big.bin/..']) expect(ask(path).status).toBe(404)
  })

  it('archiveStream() ends with an error at a changed byte, and stops reading when it is cancelled', async () => {
    const changed = bytes.slice()
    const at = changed.length - 100_000
    changed[at] = (changed[at] as number) ^ 1
    const other = await openArchive(memorySource(changed), { verifiers, contentKey })
    await expect(new Response(archiveStream(other, 'big.bin') as BodyInit).arrayBuffer()).rejects.toMatchObject({
      code: 'M2P_DECRYPT',
    })
    const reader = archiveStream(archive, 'big.bin').getReader()
    expect((await reader.read()).value?.length).toBe(65_536)
    await reader.cancel()
    expect((await reader.read()).done).toBe(true)
    expect(() => archiveStream(archive, 'missing')).toThrow(expect.objectContaining({ code: 'M2P_ENTRY_UNKNOWN' }))
  })
})

describe('the handler of examples/electron.ts', () => {
  it('handler() serves files of its own host only, with a policy, and never a file by another host', async () => {
    // The example uses the package as it is built.
    const handle = handler(await built.openArchive(memorySource(bytes), { verifiers, contentKey }))
    const response = handle(new Request('app://game/a%20b/%C3%BC.html'))
    expect(response.headers.get('content-security-policy')).toContain("default-src 'self'")
    expect(await response.text()).toBe('<p>hello')
    expect(handle(new Request('app://game/')).status).toBe(404)
    expect(handle(new Request('app://other/index')).status).toBe(404)
  })
})

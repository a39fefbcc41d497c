import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { M2pError, memorySource, openArchive } from '../src/index.ts'
import type { ZstdSource } from '../src/index.ts'
import { zstd as accelerated } from '../src/node/zstd-accelerated.ts'
import { checkZstdFrame } from '../src/zstd-frame.ts'
import { loadZstd } from '../src/zstd-instance.ts'
import { noise } from './support/tree.ts'

const file = join(dirname(createRequire(import.meta.url).resolve('@bokuweb/zstd-wasm')), '../web/zstd.wasm')
const bytes = new Uint8Array(readFileSync(file))
const module = await WebAssembly.compile(bytes)
/** A module that compiles and has nothing in it. */
const EMPTY = new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0])

async function codeOf(source: ZstdSource): Promise<string> {
  const error = await loadZstd(source).then(
    () => 'no error',
    (thrown: unknown) => thrown,
  )
  expect(error).toBeInstanceOf(M2pError)
  return (error as M2pError).code
}

describe('zstd from a place that the caller names', () => {
  it.each<[string, ZstdSource]>([
    ['bytes', { bytes }],
    ['a module', { module }],
  ])('from %s gives and reads the frames of node:zlib', async (_what, source) => {
    const loaded = await loadZstd(source)
    await accelerated.ready()
    for (const size of [1, 64, 70_000]) {
      for (const plain of [noise('zstd source', size), new Uint8Array(size)]) {
        const frame = loaded.compress(plain, 3)
        checkZstdFrame(frame, size)
        expect(Buffer.compare(accelerated.decompress(frame, size), plain)).toBe(0)
        expect(Buffer.compare(loaded.decompress(accelerated.compress(plain, 12), size), plain)).toBe(0)
      }
    }
  })

  it('grows its memory for a segment of 16 MiB', async () => {
    const loaded = await loadZstd({ module })
    const plain = new Uint8Array(16 * 1024 * 1024).map((_, index) => index >> 3)
    expect(Buffer.compare(loaded.decompress(loaded.compress(plain, 1), plain.length), plain)).toBe(0)
  })

  it('throws on a frame that is damaged, and goes on', async () => {
    const loaded = await loadZstd({ module })
    const frame = loaded.compress(new Uint8Array(1000).fill(7), 3)
    expect(() => loaded.decompress(frame.subarray(0, -3), 1000)).toThrow('zstd failed')
    expect(loaded.decompress(frame, 1000)).toEqual(new Uint8Array(1000).fill(7))
  })

  it('refuses bytes that are not WebAssembly, another program, and a file that is missing', async () => {
    const server = createServer((_request, response) => void response.writeHead(404).end())
    await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
    const { port } = server.address() as AddressInfo
    try {
      const sources: readonly ZstdSource[] = [
        { bytes: new Uint8Array([1, 2, 3]) },
        { bytes: EMPTY },
        { module: await WebAssembly.compile(EMPTY) },
        { url: `http://127.0.0.1:${port}/zstd.wasm` },
        { url: 'http://127.0.0.1:1/zstd.wasm' },
      ]
      for (const source of sources) expect(await codeOf(source)).toBe('M2P_ZSTD_UNAVAILABLE')
    } finally {
      server.close()
    }
  })

  it.each([[{}], [{ url: 'a', bytes }], [{ url: 7 }], [{ bytes: [1] }], [null]])(
    'refuses %o at the door, in Node too',
    async (source) => {
      await expect(accelerated.ready(source as never)).rejects.toThrow(TypeError)
    },
  )

  it('goes with the options of openArchive()', async () => {
    const wrong = { verifiers: 'unchecked', zstd: {} as never } as const
    const archive = memorySource(new Uint8Array(readFileSync(new URL('golden/v1.m2p', import.meta.url))))
    await expect(openArchive(archive, wrong)).rejects.toThrow('zstd must have one of url, module and bytes')
  })
})

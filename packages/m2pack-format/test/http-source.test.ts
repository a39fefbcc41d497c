import { createServer } from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { buildArchive, MemorySink, memorySource, openArchive, readArchiveHeader } from '../src/index.ts'
import type { BuildFile, ByteSink, ByteSource } from '../src/index.ts'
import { httpSource } from '../src/web/index.ts'
import { contentKey, seed, slots, verifiers } from './support/craft.ts'
import { variedFiles } from './support/tree.ts'

const servers: Server[] = []
afterEach(() => {
  for (const server of servers.splice(0)) server.close()
})

type Answer = (request: IncomingMessage, response: ServerResponse) => void

async function serve(answer: Answer): Promise<string> {
  const server = createServer(answer)
  servers.push(server)
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/archive.m2p`
}

/** A server of one file, as nginx answers; counts what it was asked for. */
function fileServer(content: () => { bytes: Uint8Array; etag?: string }): { answer: Answer; ranges: string[] } {
  const ranges: string[] = []
  return {
    ranges,
    answer: (request, response) => {
      const { bytes, etag } = content()
      const range = String(request.headers.range)
      ranges.push(range)
      const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(range) ?? []
      const last = Math.min(Number(to), bytes.length - 1)
      response.writeHead(206, {
        'content-range': `bytes ${from}-${last}/${bytes.length}`,
        ...(etag === undefined ? {} : { etag }),
      })
      response.end(bytes.subarray(Number(from), last + 1))
    },
  }
}

async function archive(): Promise<Uint8Array> {
  const sink = new MemorySink()
  const files = Object.entries(variedFiles()).map(([path, content]) => ({
    path,
    source: memorySource(new Uint8Array(Buffer.from(content))),
  }))
  await buildArchive(files, sink, { contentKey, signingSeed: seed, slots, segmentSize: 65_536, level: 3 })
  return sink.bytes()
}

const code = (name: string): unknown => expect.objectContaining({ code: name })

describe('httpSource()', () => {
  it('opens an archive and reads files of it by ranges, the small ones out of the first answer', async () => {
    const bytes = await archive()
    const { answer, ranges } = fileServer(() => ({ bytes, etag: '"1"' }))
    const source = await httpSource(await serve(answer), { firstBytes: 4096 })
    expect(source.size).toBe(bytes.length)
    const opened = await openArchive(source, { verifiers, contentKey })
    const large = await opened.read('media/large.bin')
    expect(large).toEqual(new Uint8Array(Buffer.from(variedFiles()['media/large.bin'] as Uint8Array)))
    expect(ranges[0]).toBe('bytes=0-4095')
    const asked = ranges.length
    expect(await source.read(0, 100)).toEqual(bytes.subarray(0, 100))
    expect(await source.read(bytes.length - 5, 100)).toEqual(bytes.subarray(-5))
    expect(await source.read(bytes.length, 10)).toEqual(new Uint8Array(0))
    expect(ranges.length).toBe(asked + 1)
  })

  it.each([
    ['another ETag', { etag: '"2"' }],
    ['no ETag any more', {}],
    ['another size', { etag: '"1"', grow: 1 }],
  ])('a file that changes meanwhile is noticed: %s', async (_what, change) => {
    const bytes = await archive()
    let hasChanged = false
    const later = new Uint8Array(bytes.length + ('grow' in change ? 1 : 0))
    const { answer } = fileServer(() =>
      hasChanged ? { bytes: later, ...('etag' in change ? { etag: change.etag } : {}) } : { bytes, etag: '"1"' },
    )
    const source = await httpSource(await serve(answer), { firstBytes: 128 })
    hasChanged = true
    await expect(Promise.resolve(source.read(1000, 10))).rejects.toThrow(code('M2P_SOURCE_CHANGED'))
  })

  const plain = new Uint8Array(1000)
  const bad: readonly (readonly [string, Answer])[] = [
    ['the whole file', (_request, response) => void response.writeHead(200).end(plain)],
    ['not found', (_request, response) => void response.writeHead(404).end('no')],
    ['no Content-Range', (_request, response) => void response.writeHead(206).end(plain)],
    [
      'another range',
      (_request, response) => void response.writeHead(206, { 'content-range': 'bytes 5-9/1000' }).end('12345'),
    ],
    [
      'a range of unknown size',
      (_request, response) => void response.writeHead(206, { 'content-range': 'bytes 0-99/*' }).end(),
    ],
    [
      'fewer bytes',
      (_request, response) => void response.writeHead(206, { 'content-range': 'bytes 0-99/1000' }).end('1'),
    ],
    [
      'more bytes',
      (_request, response) => void response.writeHead(206, { 'content-range': 'bytes 0-99/1000' }).end(plain),
    ],
    ['a broken connection', (request) => void request.socket.destroy()],
  ]

  it.each(bad)('a server that gives %s is refused', async (_what, answer) => {
    await expect(httpSource(await serve(answer), { firstBytes: 100 })).rejects.toThrow(code('M2P_SOURCE'))
  })

  it('sends headers, stops with its signal, and refuses a wrong firstBytes', async () => {
    let seen: unknown
    const { answer } = fileServer(() => ({ bytes: plain }))
    const url = await serve((request, response) => {
      seen = request.headers.authorization
      answer(request, response)
    })
    await httpSource(url, { headers: { authorization: 'Bearer x' } })
    expect(seen).toBe('Bearer x')
    await expect(httpSource(url, { signal: AbortSignal.abort(new Error('enough')) })).rejects.toThrow('enough')
    await expect(httpSource(url, { firstBytes: 0 })).rejects.toThrow(RangeError)
  })
})

describe('wrong arguments are refused at the door', () => {
  const good = memorySource(new Uint8Array(0))

  it('openArchive() and readArchiveHeader(): a source, verifiers', async () => {
    const wrong = [new Uint8Array(5), undefined, null, {}, { size: 1 }, 'x'] as unknown as ByteSource[]
    for (const source of wrong) {
      await expect(openArchive(source, { verifiers })).rejects.toThrow(/^source must have size and read/)
      await expect(readArchiveHeader(source)).rejects.toThrow(TypeError)
    }
    const plainObject = { 1: new Uint8Array(32) } as unknown as typeof verifiers
    await expect(openArchive(good, { verifiers: plainObject })).rejects.toThrow(/^verifiers must be a Map/)
    await expect(openArchive(good, {} as never)).rejects.toThrow(/^verifiers must be a Map/)
    expect(() => memorySource('x' as unknown as Uint8Array)).toThrow(TypeError)
  })

  it('buildArchive(): files, their sources, a sink', async () => {
    const options = { contentKey, signingSeed: seed }
    await expect(buildArchive([], undefined as unknown as ByteSink, options)).rejects.toThrow(/^sink must have write/)
    const sink = new MemorySink()
    const files = [{ path: 'a', source: new Uint8Array(1) }] as unknown as BuildFile[]
    await expect(buildArchive(files, sink, options)).rejects.toThrow(/memorySource/)
    await expect(buildArchive(['a'] as unknown as BuildFile[], sink, options)).rejects.toThrow(TypeError)
  })
})

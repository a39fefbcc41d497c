import { createServer } from 'node:net'
import type { Server, Socket } from 'node:net'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { reportUpdate } from '../src/telemetry.ts'
import { nodeFetch } from '../src/fetch/node-fetch.ts'
import { engineFor, treeFetch } from './support/install.ts'
import { NOW, Publisher } from './support/publisher.ts'

const release = { format: 'm2pack', version: '2026.11.21-1 ä', at: NOW }

let server: Server | undefined
const sockets = new Set<Socket>()
afterEach(async () => {
  vi.useRealTimers()
  for (const socket of sockets) socket.destroy()
  await new Promise<void>((resolve) => (server === undefined ? resolve() : server.close(() => resolve())))
  server = undefined
})

/** A raw server; tells each request whole. */
async function listen(how: (socket: Socket) => void): Promise<{ url: string; asked: string[] }> {
  const asked: string[] = []
  server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => socket.destroy())
    let text = ''
    socket.on('data', (part) => {
      text += part.toString('utf8')
      const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? '0')
      const head = text.indexOf('\r\n\r\n')
      if (head < 0 || Buffer.byteLength(text.slice(head + 4)) < length) return
      asked.push(text)
      how(socket)
    })
  })
  await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve))
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/u/{format}?v={version}`, asked }
}

describe('telemetry', () => {
  it('is one POST of format, version and time, nothing else', async () => {
    const { url, asked } = await listen((socket) => void socket.end('HTTP/1.1 204 No Content\r\n\r\n'))
    expect(await reportUpdate(nodeFetch, url, release)).toBe(true)
    expect(asked).toHaveLength(1)
    const [head = '', body = ''] = (asked[0] ?? '').split('\r\n\r\n')
    expect(head).toMatch(/^POST \/u\/m2pack\?v=2026\.11\.21-1%20%C3%A4 HTTP\/1\.1/)
    expect(head).not.toMatch(/cookie|authorization|referer/i)
    expect(JSON.parse(body)).toEqual({
      format: 'm2pack',
      version: '2026.11.21-1 ä',
      timestamp: '2026-11-21T00:00:00.000Z',
    })
  })

  it('is off unless this machine’s settings hold a template, and no manifest turns it on', async () => {
    const publisher = await Publisher.create()
    await publisher.release({ 'a.txt': 'one' })
    const posted: string[] = []
    const tree = treeFetch(publisher.tree)
    const fetch: typeof tree = (address, init) => {
      if (init.method === 'POST') posted.push(address)
      return tree(address, init)
    }
    await (await engineFor(publisher, { fetch })).engine.update()
    await (await engineFor(publisher, { fetch, telemetryUrlTemplate: '' })).engine.update()
    expect(posted).toEqual([])
    const on = await engineFor(publisher, { fetch, telemetryUrlTemplate: 'http://t.test/{format}/{version}' })
    await on.engine.update()
    await vi.waitFor(() => expect(posted).toEqual(['http://t.test/legacy-json-blob/2026.11.21-1']))
    await on.engine.update() // nothing was applied, so nothing is reported
    expect(posted).toHaveLength(1)
  })

  it('takes an error, a redirect, a closed port and a broken answer for what they are, and tries once (row 224)', async () => {
    for (const [words, elsewhere] of [
      ['500 Internal Server Error', ''],
      ['307 Temporary Redirect', 'location: http://127.0.0.1:9/\r\n'],
    ]) {
      const { url, asked } = await listen(
        (socket) => void socket.end(`HTTP/1.1 ${words}\r\n${elsewhere}content-length: 0\r\n\r\n`),
      )
      expect(await reportUpdate(nodeFetch, url, release)).toBe(false)
      expect(asked).toHaveLength(1)
      await new Promise<void>((resolve) => server?.close(() => resolve()))
    }
    const { url, asked } = await listen((socket) => socket.destroy())
    expect(await reportUpdate(nodeFetch, url, release)).toBe(false)
    expect(asked).toHaveLength(1)
    await new Promise<void>((resolve) => server?.close(() => resolve()))
    server = undefined
    expect(await reportUpdate(nodeFetch, url, release)).toBe(false)
  })

  it('reads no answer beyond 64 KiB (row 224)', async () => {
    let written = 0
    const { url } = await listen((socket) => {
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n')
      const piece = Buffer.alloc(64 * 1024, 0x20)
      const more = (): void => {
        while (!socket.destroyed && written < 1_073_741_824) {
          written += piece.length
          if (!socket.write(piece)) return void socket.once('drain', more)
        }
      }
      more()
    })
    await reportUpdate(nodeFetch, url, release)
    await vi.waitFor(() => expect([...sockets].every((socket) => socket.destroyed)).toBe(true), { timeout: 30_000 })
    expect(written).toBeLessThan(64 * 1024 * 1024) // what the system's buffers took, not a gigabyte
  })

  it('gives up a server that hangs after five seconds (row 224)', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    let isOver = false
    const hanging = reportUpdate(
      (_url, init) =>
        new Promise((_resolve, reject) => init.signal?.addEventListener('abort', () => reject(new Error('aborted')))),
      'http://t.test/',
      release,
    )
    void hanging.then(() => {
      isOver = true
    })
    await vi.advanceTimersByTimeAsync(4_999)
    expect(isOver).toBe(false)
    await vi.advanceTimersByTimeAsync(1)
    expect(await hanging).toBe(false)
  })

  it('keeps neither an update nor a start waiting (row 224)', async () => {
    const publisher = await Publisher.create()
    await publisher.release({ 'client.mjs': 'process.exit(0)' })
    const tree = treeFetch(publisher.tree)
    let asked = 0
    const never = new Promise<Response>(() => undefined)
    const { engine } = await engineFor(publisher, {
      telemetryUrlTemplate: 'http://t.test/',
      program: ['client.mjs'],
      fetch: (url, init) => {
        if (init.method !== 'POST') return tree(url, init)
        asked += 1
        return never
      },
    })
    const { exited } = await engine.launch({ stdio: ['ignore', 'ignore', 'ignore'] })
    expect([await exited, asked]).toEqual([0, 1])
  })
})

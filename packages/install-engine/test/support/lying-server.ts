import { createServer } from 'node:net'
import type { Server, Socket } from 'node:net'
import type { AddressInfo } from 'node:net'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'
import type { Tree } from './publisher.ts'

/** What the server does with requests for a path it lies about. */
export type Lie = (
  request: { path: string; range: [number, number] | undefined; nth: number },
  socket: Socket,
  honest: Uint8Array,
) => void

function head(status: string, headers: Record<string, string | number>): string {
  return `HTTP/1.1 ${status}\r\n${Object.entries(headers)
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join('')}\r\n`
}

/** An honest answer, written by hand. */
export function answer(
  socket: Socket,
  body: Uint8Array,
  status = '200 OK',
  headers: Record<string, string | number> = {},
): void {
  socket.write(head(status, { 'content-length': body.length, ...headers }))
  socket.write(body)
}

function honest(socket: Socket, body: Uint8Array, range: [number, number] | undefined): void {
  if (range === undefined) return answer(socket, body)
  const [start, end] = [range[0], Math.min(range[1] + 1, body.length)]
  answer(socket, body.slice(start, end), '206 Partial Content', {
    'content-range': `bytes ${start}-${end - 1}/${body.length}`,
  })
}

/** A raw server: it tells the truth about every path but those that `lies` picks. */
export class LyingServer {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  lie: { readonly where: RegExp; readonly how: Lie; readonly times?: number } | undefined
  told = 0
  requests = 0

  constructor(tree: () => Tree) {
    this.#server = createServer((socket) => {
      this.#sockets.add(socket)
      socket.on('close', () => this.#sockets.delete(socket))
      socket.on('error', () => socket.destroy())
      let text = ''
      socket.on('data', (data) => {
        text += data.toString('latin1')
        for (let end = text.indexOf('\r\n\r\n'); end >= 0; end = text.indexOf('\r\n\r\n')) {
          const request = text.slice(0, end)
          text = text.slice(end + 4)
          this.#serve(request, socket, tree())
        }
      })
    })
  }

  #serve(request: string, socket: Socket, tree: Tree): void {
    this.requests += 1
    const path = decodeURIComponent(/^GET \/(\S*)/.exec(request)?.[1] ?? '')
    const match = /\r\nrange: bytes=(\d+)-(\d+)/i.exec(request)
    const range: [number, number] | undefined = match === null ? undefined : [Number(match[1]), Number(match[2])]
    const body = tree.get(path)
    if (
      this.lie !== undefined &&
      this.lie.where.test(path) &&
      this.told < (this.lie.times ?? Number.POSITIVE_INFINITY)
    ) {
      this.told += 1
      return this.lie.how({ path, range, nth: this.told }, socket, body ?? new Uint8Array(0))
    }
    if (body === undefined) return answer(socket, new Uint8Array(0), '404 Not Found')
    honest(socket, body, range)
  }

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/`
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise<void>((resolve) => this.#server.close(() => resolve()))
  }
}

const text = (value: string): Uint8Array => new TextEncoder().encode(value)
const flipped = (bytes: Uint8Array): Uint8Array =>
  bytes.map((byte, index) => (index === bytes.length >> 1 ? byte ^ 1 : byte))
const part = (bytes: Uint8Array, range: [number, number] | undefined): Uint8Array =>
  range === undefined ? bytes : bytes.slice(range[0], range[1] + 1)
const contentRange = (bytes: Uint8Array, range: [number, number] | undefined): Record<string, string> =>
  range === undefined
    ? {}
    : { 'content-range': `bytes ${range[0]}-${Math.min(range[1], bytes.length - 1)}/${bytes.length}` }
const statusOf = (range: [number, number] | undefined): string =>
  range === undefined ? '200 OK' : '206 Partial Content'

const bomb = brotliCompressSync(new Uint8Array(20_000_000), { params: { [constants.BROTLI_PARAM_QUALITY]: 3 } })

/** Behaviours by name; each is a way a server, a cache or somebody between can be wrong. */
export const lies: Readonly<Record<string, Lie>> = {
  'closes before headers': (_request, socket) => void socket.destroy(),
  'resets before headers': (_request, socket) => void socket.resetAndDestroy(),
  'stays silent': () => undefined,
  'half a status line': (_request, socket) => void socket.end('HTTP/1.1 2'),
  'a status line of 1 MB': (_request, socket) => void socket.end(`HTTP/1.1 200 ${'x'.repeat(1_000_000)}\r\n\r\n`),
  'headers without end': (_request, socket) => void socket.write(`HTTP/1.1 200 OK\r\nx-a: ${'y'.repeat(1000)}\r\n`),
  '10,000 headers': (_request, socket) =>
    void socket.end(
      `HTTP/1.1 200 OK\r\n${Array.from({ length: 10_000 }, (_, index) => `x-${index}: 1\r\n`).join('')}\r\n`,
    ),
  'a header with NUL': (_request, socket) => void socket.end('HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 0\r\n\r\n'),
  'HTTP/0.9': (_request, socket, bytes) => void socket.end(bytes),
  'a redirect to itself': ({ path }, socket) =>
    answer(socket, new Uint8Array(0), '302 Found', { location: `/${path}` }),
  'a redirect to another host': (_request, socket) =>
    answer(socket, new Uint8Array(0), '301 Moved Permanently', { location: 'http://127.0.0.2:9/x' }),
  'a redirect to a file address': (_request, socket) =>
    answer(socket, new Uint8Array(0), '302 Found', { location: 'file:///etc/passwd' }),
  'a redirect to metadata of a cloud': (_request, socket) =>
    answer(socket, new Uint8Array(0), '307 Temporary Redirect', { location: 'http://169.254.169.254/latest' }),
  'length too short': ({ range }, socket, bytes) => {
    const body = part(bytes, range)
    socket.write(
      head(statusOf(range), { 'content-length': Math.max(0, body.length - 5), ...contentRange(bytes, range) }),
    )
    socket.end(body)
  },
  'length too long': ({ range }, socket, bytes) => {
    const body = part(bytes, range)
    socket.write(head(statusOf(range), { 'content-length': body.length + 5, ...contentRange(bytes, range) }))
    socket.end(body)
  },
  'a negative length': (_request, socket, bytes) =>
    void socket.end(Buffer.concat([text('HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n'), bytes])),
  'two lengths': (_request, socket, bytes) =>
    void socket.end(Buffer.concat([text('HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n'), bytes])),
  'length and chunks at once': (_request, socket) =>
    void socket.end('HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n'),
  'bad chunk sizes': (_request, socket) =>
    void socket.end('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\nabc\r\n0\r\n\r\n'),
  'chunks without end': (_request, socket) => {
    socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n')
    const more = (): void => {
      if (socket.destroyed) return
      socket.write(`10000\r\n${'a'.repeat(65_536)}\r\n`, () => setImmediate(more))
    }
    more()
  },
  'one byte now and then': ({ range }, socket, bytes) => {
    const body = part(bytes, range)
    socket.write(head(statusOf(range), { 'content-length': body.length, ...contentRange(bytes, range) }))
    let at = 0
    const timer = setInterval(
      () => (socket.destroyed || at >= body.length ? clearInterval(timer) : socket.write(body.slice(at, (at += 1)))),
      40,
    )
  },
  'a stall at the start': ({ range }, socket, bytes) =>
    void socket.write(
      head(statusOf(range), { 'content-length': part(bytes, range).length, ...contentRange(bytes, range) }),
    ),
  'a stall at half': ({ range }, socket, bytes) => {
    const body = part(bytes, range)
    socket.write(head(statusOf(range), { 'content-length': body.length, ...contentRange(bytes, range) }))
    socket.write(body.slice(0, body.length >> 1))
  },
  'a stall at 99 %': ({ range }, socket, bytes) => {
    const body = part(bytes, range)
    socket.write(head(statusOf(range), { 'content-length': body.length, ...contentRange(bytes, range) }))
    socket.write(body.slice(0, Math.floor(body.length * 0.99)))
  },
  'a reset at half': ({ range }, socket, bytes) => {
    const body = part(bytes, range)
    socket.write(head(statusOf(range), { 'content-length': body.length, ...contentRange(bytes, range) }))
    socket.write(body.slice(0, body.length >> 1), () => setTimeout(() => socket.resetAndDestroy(), 20))
  },
  'the whole file for a range': (_request, socket, bytes) => answer(socket, bytes),
  'another range than asked': ({ range }, socket, bytes) =>
    answer(socket, part(bytes, range), '206 Partial Content', {
      'content-range': `bytes 0-${Math.max(0, part(bytes, range).length - 1)}/${bytes.length + 1}`,
    }),
  'a range without saying which': ({ range }, socket, bytes) =>
    answer(socket, part(bytes, range), '206 Partial Content'),
  'a range with changed bytes': ({ range }, socket, bytes) =>
    answer(socket, flipped(part(bytes, range)), statusOf(range), contentRange(bytes, range)),
  'range not satisfiable': (_request, socket, bytes) =>
    answer(socket, new Uint8Array(0), '416 Range Not Satisfiable', { 'content-range': `bytes */${bytes.length}` }),
  '304 without a condition': (_request, socket) => answer(socket, new Uint8Array(0), '304 Not Modified'),
  '204 No Content': (_request, socket) => void socket.write(head('204 No Content', {})),
  'gzip unasked': (_request, socket, bytes) =>
    answer(socket, gzipSync(bytes), '200 OK', { 'content-encoding': 'gzip' }),
  'a brotli bomb': (_request, socket) => answer(socket, bomb, '200 OK', { 'content-encoding': 'br' }),
  'a captive portal': (_request, socket) =>
    answer(socket, text('<!doctype html><title>Log in</title><form>…</form>'), '200 OK', {
      'content-type': 'text/html',
    }),
  '100 Continue forever': (_request, socket) => {
    const timer = setInterval(
      () => (socket.destroyed ? clearInterval(timer) : socket.write('HTTP/1.1 100 Continue\r\n\r\n')),
      5,
    )
  },
  'a flood of 103s': (_request, socket) => {
    for (let index = 0; index < 2000; index++) socket.write('HTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n')
    socket.end()
  },
  'two answers in one': ({ range }, socket, bytes) => {
    answer(socket, flipped(part(bytes, range)), statusOf(range), contentRange(bytes, range))
    answer(socket, text('HTTP/1.1 200 OK'), '200 OK')
  },
  'the wrong blob of the right length': ({ range }, socket, bytes) =>
    answer(
      socket,
      part(bytes, range).map((byte) => byte ^ 0x55),
      statusOf(range),
      contentRange(bytes, range),
    ),
  'an empty body': ({ range }, socket, bytes) =>
    answer(socket, new Uint8Array(0), statusOf(range), contentRange(bytes, range)),
  '404': (_request, socket) => answer(socket, new Uint8Array(0), '404 Not Found'),
  '410': (_request, socket) => answer(socket, new Uint8Array(0), '410 Gone'),
  '403': (_request, socket) => answer(socket, new Uint8Array(0), '403 Forbidden'),
  '500': (_request, socket) => answer(socket, new Uint8Array(0), '500 Internal Server Error'),
  '503 with Retry-After': (_request, socket) =>
    answer(socket, new Uint8Array(0), '503 Service Unavailable', { 'retry-after': 0 }),
  '429 for a day': (_request, socket) =>
    answer(socket, new Uint8Array(0), '429 Too Many Requests', { 'retry-after': 86_400 }),
  'a Date of ten years ago': ({ range }, socket, bytes) =>
    answer(socket, part(bytes, range), statusOf(range), {
      date: 'Tue, 22 Nov 2016 00:00:00 GMT',
      ...contentRange(bytes, range),
    }),
  'a tag that changes each time': ({ range, nth }, socket, bytes) =>
    answer(socket, part(bytes, range), statusOf(range), { etag: `"${nth}"`, ...contentRange(bytes, range) }),
  'a connection closed after each answer': ({ range }, socket, bytes) => {
    answer(socket, part(bytes, range), statusOf(range), { connection: 'close', ...contentRange(bytes, range) })
    socket.end()
  },
}

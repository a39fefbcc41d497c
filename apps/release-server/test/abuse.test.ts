import { connect } from 'node:net'
import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { openApiPath } from '../src/management/openapi.ts'
import { parsePublicPath } from '../src/public/paths.ts'
import { blobFromBytes } from '@keyturn/release-client'
import { atEnd, fileUrl, sha256Hex, someBytes, startServer } from './support.ts'

/** Sends raw bytes; gives everything that came until the server closed or `waitMs` were over. */
function raw(
  url: string,
  text: string,
  waitMs = 30_000,
  enough: (got: string) => boolean = () => false,
): Promise<{ text: string; closed: boolean }> {
  const { hostname, port } = new URL(url)
  return new Promise((resolve) => {
    const socket = connect(Number(port), hostname, () => socket.write(text))
    let got = ''
    const done = (closed: boolean): void => {
      socket.destroy()
      resolve({ text: got, closed })
    }
    const timer = setTimeout(() => done(false), waitMs)
    socket.on('data', (part) => {
      got += part.toString('latin1')
      if (enough(got)) {
        clearTimeout(timer)
        done(false)
      }
    })
    socket.on('error', () => undefined)
    socket.on('close', () => {
      clearTimeout(timer)
      done(true)
    })
  })
}

const statuses = (text: string): number[] =>
  [...text.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status]) => Number(status))

describe('hostile requests', () => {
  it.each([
    [
      'Content-Length and Transfer-Encoding',
      'POST /v1/reports HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET ' +
        '/healthz HTTP/1.1\r\nHost: x\r\n\r\n',
    ],
    [
      'two Content-Lengths',
      'POST /v1/reports HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n{}  GET /healthz ' +
        'HTTP/1.1\r\nHost: x\r\n\r\n',
    ],
    [
      'a folded header',
      'GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: b\r\n c\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n',
    ],
    ['a space before the colon', 'GET /healthz HTTP/1.1\r\nHost : x\r\n\r\n'],
    ['no Host', 'GET /healthz HTTP/1.1\r\n\r\n'],
    ['a control character in a header', 'GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: a\x01b\r\n\r\n'],
    [
      'an unknown transfer coding',
      'POST /v1/reports HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n',
    ],
  ])('%s is 400 and the end of the connection (row 249)', async (_name, text) => {
    const { url } = await startServer()
    const answer = await raw(url, text)
    expect(statuses(answer.text)).toEqual([400])
    expect(answer.closed).toBe(true)
  })

  it('a header section of 1 MB is 431, a path of 64 KiB is refused, 10,000 headers are refused (row 251)', async () => {
    const { url } = await startServer()
    const large = await raw(url, `GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: ${'a'.repeat(1_000_000)}\r\n\r\n`)
    expect(statuses(large.text)).toEqual([431])
    expect(large.text).toContain('"SRV_HEADERS"')
    expect(
      statuses((await raw(url, `GET /${'a'.repeat(65_536)} HTTP/1.1\r\nHost: x\r\n\r\n`)).text)[0],
    ).toBeGreaterThanOrEqual(400)
    expect(
      statuses((await raw(url, `GET /healthz HTTP/1.1\r\nHost: x\r\n${'A: b\r\n'.repeat(10_000)}\r\n`)).text),
    ).toEqual([431])
  })

  it('a body larger than announced, without an end, or too large leaves nothing (rows 236, 239)', async () => {
    const { url, token, server } = await startServer()
    const bearer = await token(['blobs:write'])
    const name = sha256Hex(someBytes(10))
    const head = (more: string) =>
      `PUT /v1/blobs/${name} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${bearer}\r\nContent-Type: ` +
      `application/octet-stream\r\n${more}\r\n\r\n`
    const endless = (await raw(url, `${head('Transfer-Encoding: chunked')}5\r\nhello\r\n`)).text
    expect(statuses(endless)).toEqual([411])
    expect(endless).toContain('"UP_LENGTH_REQUIRED"')
    expect(statuses((await raw(url, head(`Content-Length: ${17 * 1024 * 1024}`))).text)).toEqual([413])
    expect(
      statuses(
        (
          await raw(url, `${head('Content-Length: 5')}hello world, this is more than was announced`, 30_000, (got) =>
            got.includes('}'),
          )
        ).text,
      )[0],
    ).toBeGreaterThanOrEqual(400)
    const cut = connect(Number(new URL(url).port), '127.0.0.1', () =>
      cut.write(`${head('Content-Length: 100')}only a part`),
    )
    await new Promise((resolve) => setTimeout(resolve, 200))
    cut.destroy()
    await new Promise((resolve) => setTimeout(resolve, 200))
    expect(await server.context.blobs.stat(name)).toBeUndefined()
    expect((await fetch(`${url}/healthz`)).status).toBe(200)
  })

  it('JSON with __proto__, duplicate keys or another content type is refused (row 250)', async () => {
    const { url, token } = await startServer()
    const send = async (body: string, type = 'application/json') => {
      const answer = await fetch(`${url}/v1/tokens`, {
        method: 'POST',
        body,
        headers: { authorization: `Bearer ${await token(['admin'])}`, 'content-type': type },
      })
      return [answer.status, ((await answer.json()) as { code: string }).code]
    }
    expect(await send('{"__proto__":{},"name":"x","scopes":["admin"]}')).toEqual([400, 'SRV_REQUEST'])
    expect(await send('{"name":"x","name":"y","scopes":["admin"]}')).toEqual([400, 'SRV_REQUEST'])
    expect(await send('{"name":"x","scopes":["admin"],"more":1}')).toEqual([400, 'SRV_REQUEST'])
    expect(await send('{"name":"x","scopes":"admin"}')).toEqual([400, 'SRV_REQUEST'])
    expect(await send('{}', 'text/plain')).toEqual([415, 'SRV_MEDIA_TYPE'])
    expect(await send('{}', 'application/json\ta')).toEqual([415, 'SRV_MEDIA_TYPE'])
  })

  it('TRACE and unknown methods are 405, unknown addresses 404, all answered with problems (row 252)', async () => {
    const { url } = await startServer()
    expect(statuses((await raw(url, 'TRACE /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')).text)[0]).toBe(
      405,
    )
    const answer = await fetch(`${url}/v1/tokens`, { method: 'PATCH' })
    expect([answer.status, answer.headers.get('content-type')]).toEqual([405, 'application/problem+json'])
    expect(await (await fetch(`${url}/nothing`)).json()).toMatchObject({
      code: 'SRV_NOT_FOUND',
      status: 404,
      request_id: expect.any(String),
    })
  })

  it('a handler that throws answers 500 with an id and nothing else (row 254)', async () => {
    const lines: unknown[] = []
    const { url, token, server } = await startServer({
      log: { info: () => undefined, warn: () => undefined, error: (fields) => lines.push(fields) },
    })
    const bearer = await token(['releases:read'])
    const { context } = server
    const list = context.metadata.list.bind(context.metadata)
    context.metadata.list = async () => {
      throw new Error('secret path /etc/keyturn')
    }
    atEnd(async () => {
      context.metadata.list = list
    })
    const answer = await fetch(`${url}/v1/products`, { headers: { authorization: `Bearer ${bearer}` } })
    const text = await answer.text()
    expect(answer.status).toBe(500)
    expect(text).not.toContain('etc')
    expect(JSON.parse(text)).toMatchObject({ code: 'SRV_INTERNAL', request_id: expect.any(String) })
    expect(JSON.stringify(lines)).toContain(JSON.parse(text).request_id)
    context.metadata.list = list
  })

  it('logs hold no token and no control character (row 258)', async () => {
    const lines: string[] = []
    const { jsonLog } = await import('../src/ops/log.ts')
    const { url, token } = await startServer({ log: jsonLog((line) => lines.push(line), Date.now) })
    const bearer = await token(['admin'])
    await fetch(`${url}/v1/products?x=%0d%0a%1b[31m`, {
      headers: { authorization: `Bearer ${bearer}`, 'user-agent': 'a\u001b'.slice(0, 1) },
    })
    jsonLog((line) => lines.push(line), Date.now).info(
      { authorization: bearer, text: `\r\n\u001b[31m ${bearer}` },
      'x\r\ny',
    )
    const all = lines.join('')
    expect(all).not.toContain(bearer.split('_')[2])
    for (const line of lines) expect(line).toMatch(/^[\x20-\x7e]*\n$/)
  })

  it('2,000 slow heads are cut off and delay nobody (row 247)', { timeout: 300_000 }, async () => {
    const { url } = await startServer()
    let open = 0
    const connected: Promise<void>[] = []
    const ended = Array.from({ length: 2000 }, () => {
      const socket = connect(Number(new URL(url).port), '127.0.0.1', () =>
        socket.write('GET /healthz HTTP/1.1\r\nHo'),
      ).on('error', () => undefined)
      connected.push(
        new Promise((resolve) =>
          socket.once('connect', () => {
            open += 1
            resolve()
          }),
        ),
      )
      // A byte now and then does not buy more time.
      const trickle = setInterval(() => socket.write('o'), 3000)
      return new Promise<string>((resolve) => {
        let got = ''
        socket.on('data', (part) => {
          got += part.toString('latin1')
        })
        socket.once('close', () => {
          clearInterval(trickle)
          open -= 1
          resolve(`${got.slice(0, 12)} ${/"code":"(\w+)"/.exec(got)?.[1] ?? ''}`)
        })
      })
    })
    await Promise.all(connected)
    for (let at = 0; at < 20; at++) expect((await fetch(`${url}/healthz`)).status).toBe(200)
    expect(open, 'others are answered while all of them wait').toBe(2000)
    expect([...new Set(await Promise.all(ended))]).toEqual(['HTTP/1.1 408 SRV_TIMEOUT'])
    expect((await fetch(`${url}/healthz`)).status).toBe(200)
  })

  it('readers that take nothing cost no memory (row 248)', { timeout: 30_000 }, async () => {
    const { url, client } = await startServer()
    const blob = blobFromBytes(someBytes(15 * 1024 * 1024))
    await (await client(['blobs:write'])).uploadBlob(blob)
    const before = process.memoryUsage().rss
    const { pathname } = new URL(fileUrl(url, blob.sha256))
    const sockets = Array.from({ length: 200 }, () => {
      const socket = connect(Number(new URL(url).port), '127.0.0.1', () =>
        socket.write(`GET ${pathname} HTTP/1.1\r\nHost: x\r\n\r\n`),
      )
      socket.on('error', () => undefined).pause()
      return socket
    })
    await new Promise((resolve) => setTimeout(resolve, 2000))
    expect((await fetch(`${url}/healthz`)).status).toBe(200)
    expect(process.memoryUsage().rss - before).toBeLessThan(400 * 1024 * 1024)
    for (const socket of sockets) socket.destroy()
  })

  it('patterns take no time on hostile input (row 253)', () => {
    // A pattern that backtracks takes minutes here, and the test is stopped.
    for (const text of [
      `/channels/${'a-'.repeat(32_000)}/head.json`,
      `/p/${'a'.repeat(65_000)}/x`,
      `/manifests/${'.'.repeat(65_000)}.json`,
      `/files/${'a/'.repeat(30_000)}`,
    ])
      expect(parsePublicPath(text)).not.toMatchObject({ kind: 'document' })
    openApiPath(`/${':a'.repeat(1000)}`)
  })

  it('SIGTERM-like close lets a running download end (row 255)', async () => {
    const { url, client, server } = await startServer({ drainMs: 50_000 })
    const bytes = someBytes(12 * 1024 * 1024)
    await (await client(['blobs:write'])).uploadBlob(blobFromBytes(bytes))
    const answer = await fetch(fileUrl(url, sha256Hex(bytes)))
    const closing = server.close()
    const hash = createHash('sha256')
      .update(new Uint8Array(await answer.arrayBuffer()))
      .digest('hex')
    expect(hash).toBe(sha256Hex(bytes))
    await closing
    await expect(fetch(`${url}/healthz`)).rejects.toThrow()
  })

  it('rates are limited per caller, with Retry-After', async () => {
    const { url } = await startServer({ rates: { publicPerMinute: 3, loginPerMinute: 2 } })
    const codes = []
    for (let at = 0; at < 4; at++) codes.push((await fetch(`${url}/head.json`)).status)
    expect(codes).toEqual([404, 404, 404, 429])
    const login = () =>
      fetch(`${url}/dashboard/login`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', origin: url },
        body: '{"token":"x"}',
      })
    expect([(await login()).status, (await login()).status]).toEqual([401, 401])
    const refused = await login()
    expect([refused.status, Number(refused.headers.get('retry-after')) > 0]).toEqual([429, true])
  })
})

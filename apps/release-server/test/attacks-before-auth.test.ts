import { connect } from 'node:net'
import { describe, expect, it } from 'vitest'
import { addressKey } from '../src/access/rates.ts'
import { sha256Hex, someBytes, startServer } from './support.ts'

/** Sends lines and gives what comes back until the server closes, or until `enough` says so. */
function exchange(url: string, lines: readonly string[], enough: (text: string) => boolean = () => false) {
  const { hostname, port } = new URL(url)
  return new Promise<string>((resolve, reject) => {
    const socket = connect(Number(port), hostname)
    let text = ''
    socket.setEncoding('latin1')
    socket.on('data', (part) => {
      text += String(part)
      if (!enough(text)) return
      socket.destroy()
      resolve(text)
    })
    socket.once('error', reject)
    socket.once('close', () => resolve(text))
    socket.write([...lines, '', ''].join('\r\n'))
  })
}

const hugeJson = ['Content-Type: application/json', 'Content-Length: 12000000']

describe('work before authentication', () => {
  it.each([
    ['an unknown address', 'POST /v1/nowhere', '404'],
    ['the login', 'POST /dashboard/login', '413'],
    ['a report', 'POST /v1/reports', '413'],
    ['a statement about a device', 'POST /v1/products/game/devices:attest', '413'],
    ['a route with a scope', 'POST /v1/products', '401'],
  ])('answers %s without one byte of a body of 12 MB', async (_name, start, status) => {
    const { url } = await startServer()
    const answer = await exchange(url, [`${start} HTTP/1.1`, 'Host: x', ...hugeJson], (text) =>
      text.includes('\r\n\r\n'),
    )
    expect(answer.split(' ')[1]).toBe(status)
    expect(answer.toLowerCase()).toContain('\r\nconnection: close\r\n')
  })

  it('refuses JSON of more values than any call has, no matter who sends it', async () => {
    const { url, token } = await startServer()
    const send = async (body: string) => {
      const answer = await fetch(`${url}/v1/blobs:missing`, {
        method: 'POST',
        headers: { authorization: `Bearer ${await token(['blobs:write'])}`, 'content-type': 'application/json' },
        body,
      })
      return [answer.status, ((await answer.json()) as { code: string }).code]
    }
    expect(await send(`[${'{},'.repeat(60_000)}0]`)).toEqual([413, 'SRV_LIMIT'])
    // Text may hold whatever it likes, escaped quotes included.
    expect(await send(JSON.stringify({ sha256: [`,[{:"\\${',["'.repeat(60_000)}`] }))).toEqual([400, 'SRV_REQUEST'])
  })
})

describe('the readiness of a server', () => {
  it('is looked up once for all who ask at a time, since no rate bounds probes', async () => {
    const { server, url } = await startServer()
    let looks = 0
    const { blobs } = server.context
    const ping = blobs.ping.bind(blobs)
    blobs.ping = async () => {
      looks += 1
      await new Promise((resolve) => setTimeout(resolve, 200))
      await ping()
    }
    const answers = await Promise.all(Array.from({ length: 40 }, () => fetch(`${url}/readyz`)))
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200))
    expect(looks).toBeLessThan(10)
    expect((await fetch(`${url}/readyz`)).status).toBe(200)
  })
})

describe('Expect: 100-continue', () => {
  const put = (name: string, size: number, more: readonly string[] = []) => [
    `PUT /v1/blobs/${name} HTTP/1.1`,
    'Host: x',
    'Content-Type: application/octet-stream',
    `Content-Length: ${size}`,
    'Expect: 100-continue',
    ...more,
  ]

  it('is not invited without a token, nor with one that lacks the scope (row 407)', async () => {
    const { url, token } = await startServer()
    const name = sha256Hex(someBytes(3))
    expect(await exchange(url, put(name, 2_600_000))).toMatch(/^HTTP\/1\.1 401 /)
    const foreign = `Authorization: Bearer ${await token(['audit:read'])}`
    expect(await exchange(url, put(name, 2_600_000, [foreign]))).toMatch(/^HTTP\/1\.1 403 /)
  })

  it('is invited once the sender is known, and the upload goes through (row 407)', async () => {
    const { url, token } = await startServer()
    const bytes = Buffer.from('hello')
    const { hostname, port } = new URL(url)
    const answers = await new Promise<string[]>((resolve, reject) => {
      const socket = connect(Number(port), hostname)
      const seen: string[] = []
      socket.setEncoding('latin1')
      socket.once('error', reject)
      socket.on('data', (part) => {
        const line = String(part).split('\r\n')[0] ?? ''
        seen.push(line)
        if (line.includes(' 100 ')) return void socket.write(bytes)
        socket.destroy()
        resolve(seen)
      })
      void token(['blobs:write']).then((secret) =>
        socket.write([...put(sha256Hex(bytes), 5, [`Authorization: Bearer ${secret}`]), '', ''].join('\r\n')),
      )
    })
    expect(answers).toEqual(['HTTP/1.1 100 Continue', 'HTTP/1.1 201 Created'])
  })
})

describe('the rate of callers who are not known', () => {
  const limit = 5
  const world = async () => {
    const running = await startServer({ rates: { managementPerMinute: limit, trustProxy: true } })
    const call = async (authorization: string | undefined, address: string) => {
      const answer = await fetch(`${running.url}/v1/products`, {
        headers: { 'x-forwarded-for': address, ...(authorization === undefined ? {} : { authorization }) },
      })
      return answer.status
    }
    return { ...running, call }
  }

  it('counts by address whatever token id is claimed', async () => {
    const { call } = await world()
    const answers: number[] = []
    for (let at = 0; at < 8; at++)
      answers.push(await call(`Bearer m2t_${String(at).padStart(16, 'a')}_${'x'.repeat(43)}`, '203.0.113.1'))
    expect(answers).toEqual([401, 401, 401, 401, 401, 429, 429, 429])
    expect(await call(undefined, '203.0.113.1')).toBe(429)
  })

  it('never counts a wrong secret for the owner of the id', async () => {
    const { call, token } = await world()
    const secret = await token(['releases:read'])
    const wrong = secret.slice(0, -1) + (secret.endsWith('A') ? 'B' : 'A')
    for (let at = 0; at < 20; at++) await call(`Bearer ${wrong}`, '203.0.113.2')
    expect(await call(`Bearer ${secret}`, '203.0.113.3')).toBe(200)
    // Not even at the address of the attacker, which may be that of a proxy nobody told the server about.
    expect(await call(`Bearer ${wrong}`, '203.0.113.2')).toBe(429)
    expect(await call(`Bearer ${secret}`, '203.0.113.2')).toBe(200)
  })

  it.each(['/readyz', '/metrics'])('counts what fails at %s too', async (path) => {
    const { url } = await world()
    const statuses: number[] = []
    for (let at = 0; at < 7; at++)
      statuses.push((await fetch(url + path, { headers: { authorization: 'Bearer m2t_wrong' } })).status)
    expect(statuses).toEqual([401, 401, 401, 401, 401, 429, 429])
  })

  it('still bounds a token that is valid, by itself', async () => {
    const { call, token } = await world()
    const secret = `Bearer ${await token(['releases:read'])}`
    const answers: number[] = []
    for (let at = 0; at < 7; at++) answers.push(await call(secret, `203.0.113.${at + 10}`))
    expect(answers).toEqual([200, 200, 200, 200, 200, 429, 429])
  })

  it.each([
    ['203.0.113.9', '203.0.113.9'],
    ['::ffff:203.0.113.9', '203.0.113.9'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:db8:1:2::7', '2001:db8:1:2::/64'],
    ['2001:0DB8:0001:0002:ffff::', '2001:db8:1:2::/64'],
    ['::1', '0:0:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['64:ff9b::192.0.2.1', '64:ff9b:0:0::/64'],
    ['unknown', 'unknown'],
  ])('takes all addresses of a /64 as one caller: %s', (address, key) => {
    expect(addressKey(address)).toBe(key)
  })
})

describe('a range beyond the end', () => {
  it.each(['0-9223372036854775807', '0-9007199254740990', '0-99999999999999999999999999'])(
    'is clamped: bytes=%s (row 406)',
    async (range) => {
      const { url, client } = await startServer()
      const bytes = new TextEncoder().encode('0123456789')
      const hash = sha256Hex(bytes)
      await (
        await client(['blobs:write'])
      ).uploadBlob({
        sha256: hash,
        size: bytes.length,
        read: async (offset, length) => bytes.subarray(offset, offset + length),
      })
      const answer = await fetch(`${url}/files/${hash.slice(0, 2)}/${hash}`, { headers: { range: `bytes=${range}` } })
      expect([answer.status, answer.headers.get('content-range'), await answer.text()]).toEqual([
        206,
        'bytes 0-9/10',
        '0123456789',
      ])
    },
  )
})

describe('an empty resumable upload', () => {
  const tus = { 'tus-resumable': '1.0.0' }
  const start = async (url: string, secret: string, sha256: string) =>
    fetch(`${url}/v1/uploads`, {
      method: 'POST',
      headers: {
        ...tus,
        authorization: `Bearer ${secret}`,
        'upload-length': '0',
        'upload-metadata': `sha256 ${Buffer.from(sha256).toString('base64')}`,
      },
    })

  it('is complete at its creation, and HEAD says so (row 405)', async () => {
    const { url, token } = await startServer()
    const secret = await token(['blobs:write'])
    const hash = sha256Hex(new Uint8Array(0))
    const created = await start(url, secret, hash)
    expect([created.status, created.headers.get('upload-offset')]).toEqual([201, '0'])
    const location = created.headers.get('location') ?? ''
    const head = await fetch(url + location, {
      method: 'HEAD',
      headers: { ...tus, authorization: `Bearer ${secret}` },
    })
    expect([head.status, head.headers.get('upload-length')]).toEqual([200, '0'])
    const blob = await fetch(`${url}/files/${hash.slice(0, 2)}/${hash}`)
    expect([blob.status, (await blob.arrayBuffer()).byteLength]).toEqual([200, 0])
  })

  it('under the name of other bytes is UP_HASH (row 405)', async () => {
    const { url, token } = await startServer()
    const answer = await start(url, await token(['blobs:write']), sha256Hex(new Uint8Array(1)))
    expect([answer.status, ((await answer.json()) as { code: string }).code]).toEqual([422, 'UP_HASH'])
  })
})

import { request } from 'node:http'
import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { askForPage, startDaemon } from '../src/daemon/daemon.ts'
import type { Daemon } from '../src/daemon/daemon.ts'
import { temporaryFolder, treeFetch } from '../../../packages/install-engine/test/support/install.ts'
import { noise, NOW, Publisher } from '../../../packages/install-engine/test/support/publisher.ts'

let running: Daemon | undefined
afterEach(async () => {
  await running?.close()
  running = undefined
})

async function daemon(
  options: { socket?: string; publisher?: Publisher; check?: boolean } = {},
): Promise<{ daemon: Daemon; folder: string; publisher: Publisher }> {
  const publisher = options.publisher ?? (await Publisher.create())
  if (publisher.last === undefined) await publisher.release({ 'a.txt': 'one', 'b.bin': noise(300_000, 4) })
  const folder = await temporaryFolder()
  running = await startDaemon({
    folder,
    check: options.check ?? false,
    socket: options.socket,
    settings: { server: 'http://releases.test/', trust: publisher.trust },
    engine: {
      fetch: treeFetch(publisher.tree),
      clock: () => NOW + 1000,
      retry: { tries: 1, firstPauseMs: 1, longestPauseMs: 1 },
    },
  })
  return { daemon: running, folder, publisher }
}

interface Answer {
  readonly status: number
  readonly text: string
  readonly headers: Record<string, string | string[] | undefined>
}

/** A request with exactly these headers, as an attacker would write it. */
function send(
  target: Daemon,
  options: {
    method?: string
    path?: string
    headers?: Record<string, string | string[]>
    body?: string
    socketPath?: string
  },
): Promise<Answer> {
  const { method = 'GET', path = '/api/status', headers = {}, body = '', socketPath } = options
  const url = socketPath === undefined ? new URL(target.address) : undefined
  return new Promise((resolve, reject) => {
    const asked = request(
      {
        method,
        path,
        setHost: false,
        ...(socketPath === undefined ? { host: '127.0.0.1', port: url?.port } : { socketPath }),
        headers: {
          host: url?.host ?? 'localhost',
          ...(method === 'POST' ? { 'content-length': String(Buffer.byteLength(body)) } : {}),
          ...headers,
        },
      },
      (answer) => {
        let text = ''
        answer
          .setEncoding('utf8')
          .on('data', (part: string) => {
            text += part
          })
          .on('end', () => resolve({ status: answer.statusCode ?? 0, text, headers: answer.headers }))
      },
    )
    asked.on('error', reject)
    asked.end(body)
  })
}

describe('the local interface', () => {
  it('answers who has the token, with address and token in a file of this user only', async () => {
    const { daemon: target, folder } = await daemon()
    const file = join(folder, '.updates/api.json')
    expect(JSON.parse(await readFile(file, 'utf8'))).toEqual({ address: target.address, token: target.token })
    expect((await stat(file)).mode & 0o777).toBe(0o600)
    const { status, text, headers } = await send(target, { headers: { authorization: `Bearer ${target.token}` } })
    expect(status).toBe(200)
    expect(JSON.parse(text)).toMatchObject({ trust: 'pinned', paused: false })
    expect(headers['access-control-allow-origin']).toBeUndefined()
    expect(headers['content-security-policy']).toContain("default-src 'none'")
  })

  it('refuses what other pages, other hosts, forms and strangers send (row 228)', async () => {
    const { daemon: target } = await daemon()
    const { port, host } = new URL(target.address)
    const known = { authorization: `Bearer ${target.token}` }
    const json = { 'content-type': 'application/json' }
    const old = '0'.repeat(64)
    const attacks: [string, Parameters<typeof send>[1], number][] = [
      ['no token', {}, 403],
      ['an old token', { headers: { authorization: `Bearer ${old}` } }, 403],
      ['a token of another shape', { headers: { authorization: 'Bearer x' } }, 403],
      ['token as a query', { path: `/api/status?token=${target.token}` }, 403],
      ['foreign Origin', { headers: { ...known, origin: 'https://evil.example' } }, 403],
      ['Origin null', { headers: { ...known, origin: 'null' } }, 403],
      ['Origin with another port', { headers: { ...known, origin: 'http://127.0.0.1:1' } }, 403],
      ['Origin by https', { headers: { ...known, origin: `https://${host}` } }, 403],
      ['rebound Host', { headers: { ...known, host: `evil.example:${port}` } }, 403],
      ['Host localhost', { headers: { ...known, host: `localhost:${port}` } }, 403],
      ['Host without port', { headers: { ...known, host: '127.0.0.1' } }, 403],
      ['another site by Fetch Metadata', { headers: { ...known, 'sec-fetch-site': 'cross-site' } }, 403],
      ['same site, other origin', { headers: { ...known, 'sec-fetch-site': 'same-site' } }, 403],
      [
        'a form post',
        {
          method: 'POST',
          path: '/api/update',
          headers: { ...known, 'content-type': 'application/x-www-form-urlencoded' },
          body: 'a=b',
        },
        400,
      ],
      [
        'a text/plain post',
        { method: 'POST', path: '/api/update', headers: { ...known, 'content-type': 'text/plain' }, body: '{}' },
        400,
      ],
      [
        'multipart',
        {
          method: 'POST',
          path: '/api/update',
          headers: { ...known, 'content-type': 'multipart/form-data; boundary=x' },
          body: '--x--',
        },
        400,
      ],
      ['a change without token', { method: 'POST', path: '/api/update', headers: json, body: '{}' }, 403],
      ['a change by GET', { path: '/api/update', headers: known }, 400],
      ['PUT', { method: 'PUT', path: '/api/settings', headers: { ...known, ...json }, body: '{}' }, 400],
      [
        'a preflight',
        {
          method: 'OPTIONS',
          path: '/api/update',
          headers: { origin: 'https://evil.example', 'access-control-request-method': 'POST' },
        },
        403,
      ],
      [
        'a body of 10 MB',
        {
          method: 'POST',
          path: '/api/settings',
          headers: { ...known, ...json, 'content-length': '10485760' },
          body: '{',
        },
        400,
      ],
      ['an unknown call', { method: 'POST', path: '/api/eval', headers: { ...known, ...json }, body: '{}' }, 400],
      [
        'a body that is not an object',
        { method: 'POST', path: '/api/update', headers: { ...known, ...json }, body: '[]' },
        400,
      ],
      [
        'a duplicate key',
        { method: 'POST', path: '/api/settings', headers: { ...known, ...json }, body: '{"limit":5000,"limit":6000}' },
        400,
      ],
      ['a made-up page code', { path: '/?code=guess' }, 403],
      ...[
        'folder',
        'dir',
        'server',
        'trust',
        'program',
        'target',
        'delivery',
        'product',
        'telemetryUrlTemplate',
        '__proto__',
      ].map(
        (name) =>
          [
            `setting ${name}`,
            {
              method: 'POST',
              path: '/api/settings',
              headers: { ...known, ...json },
              body: JSON.stringify({ [name]: 'x' }).replace('{}', '{"__proto__":"x"}'),
            },
            400,
          ] as [string, Parameters<typeof send>[1], number],
      ),
      [
        'a program at launch',
        { method: 'POST', path: '/api/launch', headers: { ...known, ...json }, body: '{"program":["/bin/sh"]}' },
        400,
      ],
      ['a traversal', { path: '/../../etc/passwd', headers: known }, 400],
    ]
    for (const [name, attack, wanted] of attacks) {
      const { status, text } = await send(target, attack).catch(() => ({ status: 400, text: '' }))
      expect(status, name).toBe(wanted)
      if (status === 403) expect(JSON.parse(text), name).toMatchObject({ code: 'LA_API_AUTH' })
    }
    // The last ones are names that every object has.
    for (const name of ['eval', 'toString', 'constructor', '__proto__']) {
      const call = { method: 'POST', path: `/api/${name}`, headers: { ...known, ...json }, body: '{"a": 1}' }
      expect(JSON.parse((await send(target, call)).text), name).toMatchObject({ code: 'LA_API_REQUEST' })
    }
    expect(JSON.parse((await send(target, { path: '//[' })).text)).toMatchObject({ code: 'LA_API_REQUEST' })
    expect(await target.supervisor.snapshot()).toMatchObject({ version: undefined, activity: undefined })
  })

  it('reads no body beyond 64 KiB, announced or not, and takes no page’s word for what it may change (row 228)', async () => {
    const { daemon: target } = await daemon()
    const headers = { authorization: `Bearer ${target.token}`, 'content-type': 'application/json' }
    const before = await target.supervisor.snapshot()
    let sent = 0
    const endless = new ReadableStream<Uint8Array>({
      pull(controller) {
        sent += 1
        if (sent > 10_000) controller.close()
        else controller.enqueue(new Uint8Array(1024).fill(0x20))
      },
    })
    const answer = await fetch(`${target.address}api/settings`, {
      method: 'POST',
      headers,
      body: endless,
      duplex: 'half',
    } as RequestInit).then(
      ({ status }) => status,
      () => 400,
    )
    expect(answer).toBe(400)
    expect(sent).toBeLessThan(10_000)
    for (const body of [
      '{"limit":5000,"program":["/bin/sh"]}',
      '{"channel":"beta","server":"http://evil.example/"}',
      '{"language":"cs","trust":"key:00"}',
      '{"limit":1}',
      '{"channel":"../x"}',
      '{"language":"xx"}',
    ]) {
      expect((await send(target, { method: 'POST', path: '/api/settings', headers, body })).status, body).toBe(400)
    }
    expect((await target.supervisor.snapshot()).settings).toEqual(before.settings) // not even the part that was allowed
  })

  it('removes no file that is not a socket of its own', async () => {
    const place = join(await temporaryFolder(), 'precious.txt')
    await writeFile(place, 'mine')
    await expect(daemon({ socket: place })).rejects.toMatchObject({ code: 'LA_USAGE' })
    expect(await readFile(place, 'utf8')).toBe('mine')
  })

  it('opens the page once for a code; the session comes back in a header, never as a cookie', async () => {
    const { daemon: target, folder } = await daemon()
    const address = new URL(await askForPage(folder))
    const path = `${address.pathname}${address.search}`
    const first = await send(target, { path })
    expect(first.status).toBe(200)
    expect(first.headers['set-cookie']).toBeUndefined()
    const session = /<meta name="session" content="([0-9a-f]{64})">/.exec(first.text)?.[1] ?? ''
    const status = { path: '/api/status' }
    expect((await send(target, { ...status, headers: { authorization: `Bearer ${session}` } })).status).toBe(200)
    expect((await send(target, { ...status, headers: { cookie: `keyturn_launcher=${session}` } })).status).toBe(403)
    expect((await send(target, { path })).status).toBe(403)
    const shell = await send(target, { path: '/' })
    expect(shell.text).toContain('<meta name="session" content="">')
    expect(shell.text).not.toMatch(/https?:\/\//)
    expect(shell.text).not.toContain('<script>')
    for (const asset of ['/client.js', '/words.js', '/markdown.js', '/styles.css'])
      expect((await send(target, { path: asset })).status).toBe(200)
  })

  it('lets the hand-over file of the launcher navigate to the page, and no other site do anything', async () => {
    const { daemon: target, folder } = await daemon()
    const address = new URL(await askForPage(folder))
    const path = `${address.pathname}${address.search}`
    const site = { 'sec-fetch-site': 'cross-site' }
    expect((await send(target, { path, headers: { ...site, 'sec-fetch-mode': 'no-cors' } })).status).toBe(403)
    expect((await send(target, { path: '/', headers: { ...site, 'sec-fetch-mode': 'navigate' } })).status).toBe(403)
    expect((await send(target, { path, headers: { ...site, 'sec-fetch-mode': 'navigate' } })).status).toBe(200)
  })

  it('speaks over a socket of this user only (row 228)', async () => {
    const socket = join(await temporaryFolder(), 'api.sock')
    const { daemon: target } = await daemon({ socket })
    expect((await stat(socket)).mode & 0o777).toBe(0o600)
    expect((await send(target, { socketPath: socket })).status).toBe(403)
    expect(
      (await send(target, { socketPath: socket, headers: { authorization: `Bearer ${target.token}` } })).status,
    ).toBe(200)
    expect(
      (
        await send(target, {
          socketPath: socket,
          headers: { authorization: `Bearer ${target.token}`, origin: 'http://x' },
        })
      ).status,
    ).toBe(403)
  })

  it('runs an update, tells it as events at most ten times a second, and takes a limit while it runs', async () => {
    const publisher = await Publisher.create()
    await publisher.release({ 'b.bin': noise(3_000_000, 4) })
    const { daemon: target } = await daemon({ publisher })
    const known = { authorization: `Bearer ${target.token}`, 'content-type': 'application/json' }
    const post = (name: string, body = '{}') =>
      send(target, { method: 'POST', path: `/api/${name}`, headers: known, body })
    expect((await post('settings', '{"limit":50000}')).status).toBe(202) // a minute for the whole of it
    const abort = new AbortController()
    const response = await fetch(`${target.address}api/events`, {
      headers: { authorization: `Bearer ${target.token}` },
      signal: abort.signal,
    })
    let text = ''
    const reading = (async () => {
      for await (const part of response.body ?? []) text += new TextDecoder().decode(part as Uint8Array)
    })().catch(() => undefined)
    const begun = performance.now()
    expect((await post('update')).status).toBe(202)
    expect((await post('repair')).status).toBe(409)
    await vi.waitFor(() => expect(text.split('event: progress').length).toBeGreaterThan(3), { timeout: 20_000 })
    expect((await post('settings', '{"limit":null}')).status).toBe(202)
    while ((await target.supervisor.snapshot()).activity !== undefined)
      await new Promise((resolve) => setTimeout(resolve, 20))
    const seconds = (performance.now() - begun) / 1000
    abort.abort()
    await reading
    expect(seconds).toBeLessThan(40)
    expect((await target.supervisor.snapshot()).version).toBe('2026.11.21-1')
    const told = text
      .split('\n\n')
      .filter((part) => part.startsWith('event: progress'))
      .map(
        (part) =>
          JSON.parse(part.slice(part.indexOf('data: ') + 6)) as { downloadedBytes: number; downloadTotalBytes: number },
      )
    expect(told.length).toBeGreaterThan(2)
    expect(told.length).toBeLessThanOrEqual(Math.ceil(seconds * 10) + 2)
    for (const progress of told) expect(progress.downloadedBytes).toBeLessThanOrEqual(progress.downloadTotalBytes)
  })

  it('holds a download over a restart', async () => {
    const { daemon: target, publisher, folder } = await daemon()
    await target.supervisor.pause()
    await target.close()
    running = await startDaemon({
      folder,
      check: false,
      settings: { server: 'http://releases.test/', trust: publisher.trust },
      engine: { fetch: treeFetch(publisher.tree), clock: () => NOW },
    })
    expect(running.token).not.toBe(target.token)
    await running.supervisor.begin('update')
    while ((await running.supervisor.snapshot()).activity !== undefined)
      await new Promise((resolve) => setTimeout(resolve, 5))
    expect(await running.supervisor.snapshot()).toMatchObject({ paused: true, version: undefined })
    await running.supervisor.resume()
    while ((await running.supervisor.snapshot()).activity !== undefined)
      await new Promise((resolve) => setTimeout(resolve, 5))
    expect(await running.supervisor.snapshot()).toMatchObject({ paused: false, version: '2026.11.21-1' })
  })

  it('runs once per install', async () => {
    const { folder, publisher } = await daemon()
    await expect(
      startDaemon({ folder, check: false, settings: { server: 'http://releases.test/', trust: publisher.trust } }),
    ).rejects.toMatchObject({ code: 'LA_LOCKED' })
  })
})

import { execFile, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { request } from 'node:https'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { fileURLToPath } from 'node:url'
import { utf8Encode } from '@keyturn/primitives'
import { describe, expect, it } from 'vitest'
import { readConfig, settings } from '../src/config.ts'
import { blobFromBytes, ReleaseServerClient } from '@keyturn/release-client'
import { runServer } from './processes.ts'
import { TestPublisher } from './publisher.ts'
import { ended, freePort, until } from './services.ts'
import { atEnd, sha256Hex, someBytes, startServer, temporaryFolder } from './support.ts'

const run = promisify(execFile)
const fileOf = (name: string): Promise<string> =>
  readFile(fileURLToPath(new URL(`../../../docs/operations/files/${name}`, import.meta.url)), 'utf8')
const findProgram = (...paths: string[]): string | undefined => paths.find((path) => existsSync(path))
const programs = {
  nginx: findProgram('/usr/sbin/nginx'),
  caddy: findProgram('/usr/bin/caddy'),
  systemd: findProgram('/usr/bin/systemd-analyze'),
}
for (const [name, path] of Object.entries(programs))
  if (path === undefined) console.info(`${name} is not installed: its file in docs/operations is not run`)

/** A server with one release, to put behind a proxy. */
async function origin(options: Parameters<typeof startServer>[0] = {}) {
  const running = await startServer(options)
  const publisher = await TestPublisher.create()
  const bytes = someBytes(300_000)
  const client = await running.client(['admin'])
  await publisher.introduce(client)
  const release = await publisher.release({ 'a.bin': bytes, 'b.txt': utf8Encode('b') })
  await publisher.publish(client, release)
  return {
    ...running,
    publisher,
    release,
    bytes,
    port: new URL(running.url).port,
    token: await running.token(['admin']),
  }
}

/** Replaces what a deployer has to replace; every name has to be there. */
function filledIn(text: string, values: readonly (readonly [string, string])[]): string {
  return values.reduce((filled, [from, to]) => {
    expect(filled).toContain(from)
    return filled.replaceAll(from, to)
  }, text)
}

interface Answer {
  readonly status: number
  readonly headers: Record<string, unknown>
  readonly body: Buffer
}

/** A request over TLS that trusts the certificate of the test. */
function get(
  url: string,
  headers: Record<string, string> = {},
  enough: (body: Buffer) => boolean = () => false,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asking = request(url, { headers, rejectUnauthorized: false }, (answer) => {
      let body = Buffer.alloc(0)
      const done = (): void => resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body })
      answer
        .on('data', (part: Buffer) => {
          body = Buffer.concat([body, part])
          if (enough(body)) {
            done()
            asking.destroy()
          }
        })
        .on('end', done)
    }).on('error', reject)
    asking.end()
  })
}

describe('files in docs/operations', () => {
  it.skipIf(programs.nginx === undefined)(
    'nginx.conf: passes nginx -t, ends TLS, sends the blobs itself, passes uploads and events on',
    { timeout: 300_000 },
    async () => {
      const folder = await temporaryFolder()
      const { dataDir, release, bytes, port, token, publisher } = await origin({
        offload: { kind: 'accel', prefix: '/internal-files' },
        rates: { trustProxy: true },
      })
      await run(
        'openssl',
        [
          'req',
          '-x509',
          '-newkey',
          'ec',
          '-pkeyopt',
          'ec_paramgen_curve:prime256v1',
          '-nodes',
          '-days',
          '2',
          '-subj',
          '/CN=updates.example.org',
          '-keyout',
          'key.pem',
          '-out',
          'cert.pem',
        ],
        { cwd: folder },
      )
      const outside = await freePort()
      const site = filledIn(await fileOf('nginx.conf'), [
        ['127.0.0.1:8787', `127.0.0.1:${port}`],
        ['listen 443 ', `listen 127.0.0.1:${outside} `],
        ['/var/lib/keyturn/blobs/files/', `${join(dataDir, 'blobs', 'files')}/`],
        ['/etc/letsencrypt/live/updates.example.org/fullchain.pem', join(folder, 'cert.pem')],
        ['/etc/letsencrypt/live/updates.example.org/privkey.pem', join(folder, 'key.pem')],
      ])
      await mkdir(join(folder, 'tmp'))
      const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
        .map((name) => `${name}_temp_path ${folder}/tmp/${name};`)
        .join(' ')
      await writeFile(join(folder, 'site.conf'), site)
      await writeFile(
        join(folder, 'nginx.conf'),
        `daemon off; pid ${folder}/nginx.pid; error_log ${folder}/error.log; ` +
          `${process.getuid?.() === 0 ? 'user root;' : ''} events {} http { access_log off; ${temporary} include ` +
          `${folder}/site.conf; }`,
      )
      await run(programs.nginx ?? '', ['-t', '-c', join(folder, 'nginx.conf'), '-p', folder])
      const child = spawn(programs.nginx ?? '', ['-c', join(folder, 'nginx.conf'), '-p', folder], { stdio: 'ignore' })
      atEnd(() => ended(child, 'SIGTERM'))
      const url = `https://127.0.0.1:${outside}`
      await until(() => get(`${url}/healthz`))
      expect((await get(`${url}/manifest.json`)).body.equals(Buffer.from(release.manifest))).toBe(true)
      const path = `/files/${sha256Hex(bytes).slice(0, 2)}/${sha256Hex(bytes)}`
      const whole = await get(url + path)
      expect([
        whole.status,
        sha256Hex(whole.body),
        whole.headers['x-accel-redirect'],
        whole.headers['cache-control'],
        whole.headers['content-encoding'],
      ]).toEqual([200, sha256Hex(bytes), undefined, 'public, max-age=31536000, immutable', undefined])
      const part = await get(url + path, { range: 'bytes=299990-' })
      expect([part.status, part.body.equals(Buffer.from(bytes.slice(299_990)))]).toEqual([206, true])
      expect((await get(url + path, { 'if-none-match': String(whole.headers['etag']) })).status).toBe(304)
      // The folder cannot be reached but through the server.
      expect((await get(`${url}/internal-files/${sha256Hex(bytes).slice(0, 2)}/${sha256Hex(bytes)}`)).status).toBe(404)
      const insecure = async (input: string | URL | Request, init: RequestInit = {}): Promise<Response> => {
        const sent =
          init.body === undefined || init.body === null
            ? undefined
            : Buffer.from(typeof init.body === 'string' ? init.body : (init.body as Uint8Array))
        const answer = await new Promise<Answer>((resolve, reject) => {
          const asking = request(
            String(input),
            {
              method: init.method ?? 'GET',
              headers: {
                ...(init.headers as Record<string, string>),
                ...(sent === undefined ? {} : { 'content-length': String(sent.length) }),
              },
              rejectUnauthorized: false,
            },
            (got) => {
              const parts: Buffer[] = []
              got
                .on('data', (each: Buffer) => parts.push(each))
                .on('end', () =>
                  resolve({ status: got.statusCode ?? 0, headers: got.headers, body: Buffer.concat(parts) }),
                )
            },
          ).on('error', reject)
          asking.end(sent)
        })
        return new Response(answer.body.length === 0 ? null : new Uint8Array(answer.body), {
          status: answer.status,
          headers: answer.headers as Record<string, string>,
        })
      }
      const client = new ReleaseServerClient(url, { token, fetch: insecure as typeof fetch })
      const large = blobFromBytes(someBytes(18 * 1024 * 1024))
      await client.uploadBlob(large)
      expect(await client.getBlob(large.sha256)).toMatchObject({ size: large.size })
      // Events come through at once, not when a buffer is full.
      const events = get(`${url}/v1/events`, { authorization: `Bearer ${token}`, 'last-event-id': '0' }, (body) =>
        body.includes('event: channel.publish'),
      )
      expect((await events).body.toString()).toContain('event: channel.publish')
      await client.publish('metin2', 'stable', { version: release.model.version, head: await publisher.head(release) })
    },
  )

  it.skipIf(programs.caddy === undefined)(
    'Caddyfile: is valid, compresses documents and never blobs, streams events',
    { timeout: 300_000 },
    async () => {
      const folder = await temporaryFolder()
      const { release, bytes, port, token } = await origin({ rates: { trustProxy: true } })
      const outside = await freePort()
      const site = filledIn(await fileOf('Caddyfile'), [
        ['updates.example.org', `http://127.0.0.1:${outside}`],
        ['127.0.0.1:8787', `127.0.0.1:${port}`],
      ])
      await writeFile(join(folder, 'Caddyfile'), `{\n\tadmin off\n\tauto_https off\n}\n${site}`)
      const environment = {
        PATH: process.env['PATH'] ?? '',
        HOME: folder,
        XDG_CONFIG_HOME: folder,
        XDG_DATA_HOME: folder,
      }
      await run(programs.caddy ?? '', ['validate', '--adapter', 'caddyfile', '--config', join(folder, 'Caddyfile')], {
        env: environment,
      })
      const child = spawn(
        programs.caddy ?? '',
        ['run', '--adapter', 'caddyfile', '--config', join(folder, 'Caddyfile')],
        { env: environment, stdio: 'ignore' },
      )
      // Asked kindly, Caddy waits forever for streams that are open.
      atEnd(() => ended(child, 'SIGKILL'))
      const url = `http://127.0.0.1:${outside}`
      await until(async () => {
        if (!(await fetch(`${url}/healthz`)).ok) throw new Error('not yet')
      })
      const path = `/files/${sha256Hex(bytes).slice(0, 2)}/${sha256Hex(bytes)}`
      const blob = await fetch(url + path)
      expect([blob.headers.get('content-encoding'), sha256Hex(new Uint8Array(await blob.arrayBuffer()))]).toEqual([
        null,
        sha256Hex(bytes),
      ])
      expect((await fetch(url + path, { headers: { range: 'bytes=0-9' } })).status).toBe(206)
      const manifest = await fetch(`${url}/manifest.json`, { headers: { 'accept-encoding': 'gzip' } })
      expect(manifest.headers.get('content-encoding')).toBe('gzip')
      expect(Buffer.from(await manifest.arrayBuffer()).equals(Buffer.from(release.manifest))).toBe(true)
      const stop = new AbortController()
      const events = await fetch(`${url}/v1/events`, {
        headers: { authorization: `Bearer ${token}`, 'last-event-id': '0' },
        signal: stop.signal,
      })
      let text = ''
      for await (const part of events.body as unknown as AsyncIterable<Uint8Array>) {
        text += Buffer.from(part).toString()
        if (text.includes('event: channel.publish')) break
      }
      stop.abort()
      expect(text).toContain('event: channel.publish')
    },
  )

  it.skipIf(programs.systemd === undefined).each(['keyturn-server.service', 'keyturn-head-signer.service'])(
    '%s passes systemd-analyze verify, and its security is rated',
    async (name) => {
      const folder = await temporaryFolder()
      const unit = filledIn(await fileOf(name), [['ExecStart=/usr/bin/node ', `ExecStart=${process.execPath} `]])
      const path = join(folder, name)
      await writeFile(path, unit)
      const { stdout, stderr } = await run(programs.systemd ?? '', ['verify', '--man=no', path])
      expect(`${stdout}${stderr}`.split('\n').filter((line) => line.includes(name))).toEqual([])
      const rating = await run(programs.systemd ?? '', ['security', '--offline=true', '--no-pager', path]).catch(
        (error: unknown) => error as { stdout: string },
      )
      console.info(String(rating.stdout).trim().split('\n').at(-1))
    },
  )

  it('settings.json is read, and a server starts with it', async () => {
    const folder = await temporaryFolder()
    const values = JSON.parse(await fileOf('settings.json')) as Record<string, unknown>
    const known = new Set(settings.map(({ variable }) => variable))
    expect(Object.keys(values).filter((name) => !known.has(name))).toEqual([])
    await writeFile(join(folder, 'passphrase'), 'a passphrase\n')
    await writeFile(
      join(folder, 'settings.json'),
      JSON.stringify({
        ...values,
        KEYTURN_DATA_DIR: join(folder, 'data'),
        KEYTURN_PORT: 0,
        KEYTURN_PASSPHRASE_FILE: join(folder, 'passphrase'),
      }),
    )
    expect(await readConfig({}, join(folder, 'settings.json'))).toMatchObject({
      trustProxy: true,
      publicUrl: 'https://updates.example.org',
    })
    const server = await runServer({}, ['--config', join(folder, 'settings.json')])
    atEnd(() => server.stop())
    expect((await fetch(`${server.url}/readyz`)).status).toBe(200)
    expect((await fetch(`${server.url}/witness`)).status).toBe(200)
  })
})

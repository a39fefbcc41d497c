import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { utf8Encode } from '@keyturn/primitives'
import { expect, it } from 'vitest'
import { blobFromBytes, ReleaseServerClient } from '../src/client/index.ts'
import { createTokenByCommand, runServer } from './processes.ts'
import type { ServerProcess } from './processes.ts'
import { TestPublisher } from './publisher.ts'
import { ended, freePort, freshDatabase, startPostgres, startS3, until } from './services.ts'
import { atEnd, sha256Hex, someBytes, temporaryFolder } from './support.ts'

const nginx = '/usr/sbin/nginx'
const launchers = Number(process.env['KEYTURN_TEST_LAUNCHERS'] ?? 400)

async function startNginx(ports: readonly number[]): Promise<string> {
  const folder = await temporaryFolder()
  const port = await freePort()
  await mkdir(join(folder, 'tmp'))
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${folder}/tmp/${name};`).join(' ')
  await writeFile(join(folder, 'nginx.conf'), `
    daemon off; worker_processes 1; pid ${folder}/nginx.pid; error_log ${folder}/error.log; ${process.getuid?.() === 0 ? 'user root;' : ''}
    events { worker_connections 4096; }
    http { access_log off; ${temporary} client_max_body_size 20m;
      upstream keyturn { ${ports.map((replica) => `server 127.0.0.1:${replica} max_fails=1 fail_timeout=1s;`).join(' ')} keepalive 64; }
      server { listen 127.0.0.1:${port}; location / { proxy_pass http://keyturn; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
        proxy_set_header X-Forwarded-For $http_x_launcher; proxy_request_buffering off; proxy_next_upstream error timeout http_503; proxy_next_upstream_tries 3; } } }`)
  const child = spawn(nginx, ['-c', join(folder, 'nginx.conf'), '-p', folder], { stdio: 'ignore' })
  atEnd(() => ended(child, 'SIGTERM'))
  const url = `http://127.0.0.1:${port}`
  await until(() => fetch(`${url}/healthz`))
  return url
}

it('three replicas on one database and bucket: rolling restart, kills, many launchers; nothing lost, nothing mixed', { timeout: 180_000 }, async (context) => {
  const postgres = await startPostgres()
  if (postgres === undefined || !existsSync(nginx)) {
    console.info('PostgreSQL or nginx is not installed: the replicas are not run')
    return context.skip()
  }
  atEnd(() => postgres.stop())
  const s3 = await startS3()
  atEnd(() => s3.stop())
  const secret = join(await temporaryFolder(), 'secret')
  await writeFile(secret, s3.secretKey)
  const environment = {
    KEYTURN_DATABASE_URL: await freshDatabase(postgres.url), KEYTURN_S3_URL: `${s3.url}/replicas`, KEYTURN_S3_ACCESS_KEY: s3.accessKey, KEYTURN_S3_SECRET_KEY_FILE: secret,
    KEYTURN_TRUST_PROXY: 'true',
  }
  const token = await createTokenByCommand(environment)
  const ports = [await freePort(), await freePort(), await freePort()]
  const replicas: ServerProcess[] = await Promise.all(ports.map((port) => runServer({ ...environment, KEYTURN_PORT: String(port) })))
  atEnd(() => Promise.all(replicas.map((replica) => replica.stop('SIGKILL'))))
  const url = await startNginx(ports)
  const client = new ReleaseServerClient(url, { token, retries: 8, retryPauseMs: 100 })
  const publisher = await TestPublisher.create()
  await publisher.introduce(client)
  const restart = async (at: number, signal: NodeJS.Signals): Promise<void> => {
    await replicas[at]?.stop(signal)
    replicas[at] = await runServer({ ...environment, KEYTURN_PORT: String(ports[at]) })
  }
  const first = await publisher.release({ 'a.bin': someBytes(200_000) })
  await publisher.publish(client, first)

  // A large upload while a replica is killed.
  const large = blobFromBytes(someBytes(48 * 1024 * 1024))
  await Promise.all([client.uploadBlob(large), restart(0, 'SIGKILL')])
  expect(sha256Hex(await client.fetchPublic(`/files/${large.sha256.slice(0, 2)}/${large.sha256}`) ?? new Uint8Array(0))).toBe(large.sha256)

  // Publishes while replicas are killed and restarted; each is done or refused, and the channel tells which.
  const known = new Map([[first.pin.sha256, first.model.version]])
  let stopPublishing = false
  let publishes = 0
  const publishing = (async () => {
    while (!stopPublishing) {
      const release = await publisher.release({ 'a.bin': someBytes(50_000), 'b.txt': utf8Encode(String(publishes)) })
      known.set(release.pin.sha256, release.model.version)
      const head = await publisher.head(release)
      await publisher.publish(client, release, head)
      publishes += 1
    }
  })()
  await restart(2, 'SIGKILL')
  for (const at of [0, 1, 2]) await restart(at, 'SIGTERM')
  stopPublishing = true
  await publishing
  const channel = await client.getChannel('metin2', 'stable')
  expect(channel?.head?.sequence).toBe(publisher.headSequence)

  // Many launchers: head, the manifest it pins, its signatures, its files; every byte checked.
  const times: number[] = []
  let failures = 0
  let next = 0
  // Each launcher has an address of its own, as in the world; the limits of requests count by it.
  const launch = async (address: string): Promise<void> => {
    const timed = async (path: string): Promise<Uint8Array> => {
      const begun = performance.now()
      const answer = await fetch(url + path, { headers: { 'x-launcher': address } })
      const bytes = new Uint8Array(await answer.arrayBuffer())
      times.push(performance.now() - begun)
      if (answer.status !== 200) throw new Error(`${path}: ${answer.status}`)
      return bytes
    }
    const head = JSON.parse(new TextDecoder().decode(await timed('/head.json'))) as { payload: string }
    const { manifest } = JSON.parse(Buffer.from(head.payload, 'base64').toString()) as { manifest: { version: string; sha256: string } }
    const bytes = await timed(`/channels/stable/manifests/${manifest.version}.json`)
    if (sha256Hex(bytes) !== manifest.sha256) throw new Error('a mixed release')
    await timed(`/channels/stable/manifests/${manifest.version}.sigs.json`)
    const { files } = JSON.parse(new TextDecoder().decode(bytes)) as { files: { sha256: string }[] }
    for (const { sha256 } of files) if (sha256Hex(await timed(`/files/${sha256.slice(0, 2)}/${sha256}`)) !== sha256) throw new Error('wrong bytes')
  }
  const begun = performance.now()
  await Promise.all(Array.from({ length: 100 }, async () => {
    while (next++ < launchers) await launch(`launcher-${next}`).catch((error: unknown) => { failures += 1; console.info(String(error)) })
  }))
  const seconds = (performance.now() - begun) / 1000
  const sorted = times.toSorted((a, b) => a - b)
  console.info(`${publishes} publishes through kills; ${launchers} launchers, ${times.length} requests in ${seconds.toFixed(1)} s, p50 ${sorted[sorted.length >> 1]?.toFixed(0)} ms, p99 ${sorted[Math.floor(sorted.length * 0.99)]?.toFixed(0)} ms, ${failures} failures`)
  expect(failures).toBe(0)
})

import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import type { ClientRequest } from 'node:http'
import { join } from 'node:path'
import { utf8Encode } from '@keyturn/primitives'
import { expect, it } from 'vitest'
import { blobFromBytes, ReleaseServerClient } from '@keyturn/release-client'
import { openS3BlobStore } from '../src/storage/s3-blob-store.ts'
import { launcherLine, runLaunchers } from './launcher-client.ts'
import { createTokenByCommand, runServer } from './processes.ts'
import type { ServerProcess } from './processes.ts'
import { TestPublisher } from './publisher.ts'
import { ended, freePort, freshDatabase, startPostgres, startS3, until } from './services.ts'
import { atEnd, sha256Hex, someBytes, temporaryFolder } from './support.ts'

const nginx = '/usr/sbin/nginx'
const launchers = Number(process.env['KEYTURN_TEST_LAUNCHERS'] ?? 2000)

async function startNginx(ports: readonly number[]): Promise<string> {
  const folder = await temporaryFolder()
  const port = await freePort()
  await mkdir(join(folder, 'tmp'))
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((name) => `${name}_temp_path ${folder}/tmp/${name};`)
    .join(' ')
  await writeFile(
    join(folder, 'nginx.conf'),
    `
    daemon off; worker_processes 1; pid ${folder}/nginx.pid; error_log ${folder}/error.log; ${process.getuid?.() === 0 ? 'user root;' : ''}
    events { worker_connections 16384; }
    http { access_log off; ${temporary} client_max_body_size 20m;
      upstream keyturn { ${ports.map((replica) => `server 127.0.0.1:${replica} max_fails=0;`).join(' ')} keepalive 64; }
      server { listen 127.0.0.1:${port}; location / { proxy_pass http://keyturn; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
        proxy_request_buffering off; proxy_next_upstream error timeout http_503; proxy_next_upstream_tries 3; } } }`,
  )
  const child = spawn(nginx, ['-c', join(folder, 'nginx.conf'), '-p', folder], { stdio: 'ignore' })
  atEnd(() => ended(child, 'SIGTERM'))
  const url = `http://127.0.0.1:${port}`
  await until(() => fetch(`${url}/healthz`))
  return url
}

/** A piece of an upload of which only a part is ever sent. */
function halfPiece(url: string, token: string, piece: Uint8Array, sent: number): ClientRequest {
  const headers = {
    authorization: `Bearer ${token}`,
    'tus-resumable': '1.0.0',
    'upload-offset': '0',
    'content-type': 'application/offset+octet-stream',
    'content-length': String(piece.length),
  }
  const sending = request(url, { method: 'PATCH', headers }).on('error', () => undefined)
  sending.write(piece.subarray(0, sent))
  return sending
}

/** A fetch that kills a replica, once, as soon as a request of a kind is on its way. */
function killing(
  replicas: readonly ServerProcess[],
  at: number,
  matches: (method: string, path: string) => boolean,
): { fetch: typeof fetch; killed(): boolean } {
  let killed = false
  return {
    killed: () => killed,
    fetch: (input, init) => {
      const answer = fetch(input, init)
      if (!killed && matches(init?.method ?? 'GET', new URL(String(input)).pathname)) {
        killed = true
        replicas[at]?.child.kill('SIGKILL')
      }
      return answer
    },
  }
}

it(
  'three replicas on one database and bucket: rolling restart, kills, many launchers; nothing lost, nothing mixed',
  { timeout: 600_000 },
  async (context) => {
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
      KEYTURN_DATABASE_URL: await freshDatabase(postgres.url),
      KEYTURN_S3_URL: `${s3.url}/replicas`,
      KEYTURN_S3_ACCESS_KEY: s3.accessKey,
      KEYTURN_S3_SECRET_KEY_FILE: secret,
      KEYTURN_TRUST_PROXY: 'true',
    }
    const token = await createTokenByCommand(environment)
    const ports = [await freePort(), await freePort(), await freePort()]
    const replicas: ServerProcess[] = await Promise.all(
      ports.map((port) => runServer({ ...environment, KEYTURN_PORT: String(port) })),
    )
    atEnd(() => Promise.all(replicas.map((replica) => replica.stop('SIGKILL'))))
    const url = await startNginx(ports)
    const client = new ReleaseServerClient(url, { token, retries: 8, retryPauseMs: 100 })
    const publisher = await TestPublisher.create()
    await publisher.introduce(client)
    const restart = async (at: number, signal: NodeJS.Signals): Promise<void> => {
      await replicas[at]?.stop(signal)
      replicas[at] = await runServer({ ...environment, KEYTURN_PORT: String(ports[at]) })
    }
    await publisher.publish(client, await publisher.release({ 'a.bin': someBytes(200_000) }))

    // A replica is killed with a piece half read, another one while the client sends the next pieces.
    const large = blobFromBytes(someBytes(40 * 1024 * 1024))
    const started = await client.startUpload(large)
    const bucket = openS3BlobStore({
      url: `${s3.url}/replicas`,
      region: 'us-east-1',
      accessKey: s3.accessKey,
      secretKey: s3.secretKey,
    })
    const half = halfPiece(
      `http://127.0.0.1:${ports[0]}${started}`,
      token,
      await large.read(0, 16 * 1024 * 1024),
      12 * 1024 * 1024,
    )
    await until(async () => {
      for await (const { id } of bucket.listUploads()) if (started.endsWith(id)) return
      throw new Error('no byte of it is in the storage yet')
    }, 60_000)
    await restart(0, 'SIGKILL')
    half.destroy()
    const uploading = killing(replicas, 1, (method) => method === 'PATCH')
    await new ReleaseServerClient(url, { token, retries: 12, retryPauseMs: 100, fetch: uploading.fetch }).uploadBlob(
      large,
      { direct: false },
    )
    expect(uploading.killed()).toBe(true)
    await restart(1, 'SIGKILL')
    expect(
      sha256Hex((await client.fetchPublic(`/files/${large.sha256.slice(0, 2)}/${large.sha256}`)) ?? new Uint8Array(0)),
    ).toBe(large.sha256)

    // Publishes while a replica is killed in the middle of one and all are restarted in turn; each is done or refused.
    const publishing = killing(replicas, 2, (method, path) => method === 'POST' && path.endsWith(':publish'))
    const robust = new ReleaseServerClient(url, { token, retries: 12, retryPauseMs: 100, fetch: publishing.fetch })
    let stopPublishing = false
    let publishes = 0
    const publisherAtWork = (async () => {
      while (!stopPublishing || publishes < 2) {
        const release = await publisher.release({ 'a.bin': someBytes(50_000), 'b.txt': utf8Encode(String(publishes)) })
        await publisher.publish(robust, release, await publisher.head(release))
        publishes += 1
      }
    })()
    await until(async () => {
      if (!publishing.killed()) throw new Error('nothing was published yet')
    }, 60_000)
    await restart(2, 'SIGKILL')
    for (const at of [0, 1, 2]) await restart(at, 'SIGTERM')
    stopPublishing = true
    await publisherAtWork
    const channel = await client.getChannel('metin2', 'stable')
    expect(channel?.head?.sequence).toBe(publisher.headSequence)

    // Many launchers at once, each on its own connection; every byte is checked, and no release is mixed.
    const figures = await runLaunchers(url, launchers, 0)
    console.info(`${publishes} publishes through kills; ${launcherLine(figures)}`)
    expect(figures.failures).toEqual([])
  },
)

import { execFile, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, readdirSync } from 'node:fs'
import { chmod, chown, mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import pg from 'pg'

const run = promisify(execFile)

export interface Service {
  readonly url: string
  stop(): Promise<void>
}

export async function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer().once('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address()
      probe.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0))
    })
  })
}

function postgresBin(): string | undefined {
  const root = '/usr/lib/postgresql'
  const versions = existsSync(root) ? readdirSync(root).sort((a, b) => Number(b) - Number(a)) : []
  return versions.map((version) => join(root, version, 'bin')).find((bin) => existsSync(join(bin, 'initdb')))
}

/** PostgreSQL refuses to run as root: then it runs as the user its package made. */
async function postgresUser(): Promise<{ uid: number; gid: number } | undefined> {
  if (process.getuid?.() !== 0) return undefined
  const id = async (flag: string): Promise<number> => Number((await run('id', [flag, 'postgres'])).stdout)
  return { uid: await id('-u'), gid: await id('-g') }
}

/**
 * A real PostgreSQL: the one of KEYTURN_TEST_DATABASE_URL, else one brought up here; undefined when none is installed.
 */
export async function startPostgres(): Promise<Service | undefined> {
  const given = process.env['KEYTURN_TEST_DATABASE_URL']
  if (given !== undefined) return { url: given, stop: async () => undefined }
  const bin = postgresBin()
  if (bin === undefined) return undefined
  const user = await postgresUser().catch(() => undefined)
  if (user === undefined && process.getuid?.() === 0) return undefined
  const folder = await mkdtemp(join(tmpdir(), 'keyturn-postgres-'))
  if (user !== undefined) await chown(folder, user.uid, user.gid)
  await chmod(folder, 0o700)
  await run(
    join(bin, 'initdb'),
    ['-D', join(folder, 'data'), '-U', 'keyturn', '-A', 'trust', '-E', 'UTF8', '--no-sync'],
    { ...user, cwd: folder },
  )
  const port = await freePort()
  const server = spawn(
    join(bin, 'postgres'),
    [
      '-D',
      join(folder, 'data'),
      '-p',
      String(port),
      '-k',
      folder,
      '-c',
      'listen_addresses=127.0.0.1',
      '-c',
      'fsync=off',
      '-c',
      'max_connections=200',
    ],
    { ...user, cwd: folder, stdio: 'ignore' },
  )
  const url = `postgres://keyturn@127.0.0.1:${port}/postgres`
  await until(async () => {
    const client = new pg.Client({ connectionString: url })
    await client.connect()
    await client.end()
  })
  return {
    url,
    stop: async () => {
      await ended(server, 'SIGINT')
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** A fresh database on a server. */
export async function freshDatabase(url: string): Promise<string> {
  const name = `keyturn_${randomBytes(6).toString('hex')}`
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  await client.query(`CREATE DATABASE ${name}`)
  await client.end()
  const fresh = new URL(url)
  fresh.pathname = `/${name}`
  return fresh.href
}

export interface S3Service extends Service {
  readonly accessKey: string
  readonly secretKey: string
}

/** An S3 server over HTTP: the one of KEYTURN_TEST_S3_URL (`http://key:secret@host/bucket`), else one in a process of its own. */
export async function startS3(): Promise<S3Service> {
  const given = process.env['KEYTURN_TEST_S3_URL']
  if (given !== undefined) {
    const url = new URL(given)
    const [accessKey, secretKey] = [decodeURIComponent(url.username), decodeURIComponent(url.password)]
    url.username = ''
    url.password = ''
    return { url: url.href, accessKey, secretKey, stop: async () => undefined }
  }
  const folder = await mkdtemp(join(tmpdir(), 'keyturn-s3-'))
  const port = await freePort()
  const script = `
    const S3rver = require('s3rver')
    new S3rver({ port: ${port}, address: '127.0.0.1', silent: true, directory: ${JSON.stringify(folder)}, configureBuckets: [{ name: 'keyturn' }] }).run().then(() => console.log('ready'))
    process.on('SIGTERM', () => process.exit(0))`
  const server = spawn(process.execPath, ['--no-warnings', '-e', script], {
    cwd: import.meta.dirname,
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  await new Promise((resolve, reject) => {
    server.stdout.once('data', resolve)
    server.once('exit', () => reject(new Error('The S3 server did not start')))
  })
  return {
    url: `http://127.0.0.1:${port}/keyturn`,
    accessKey: 'S3RVER',
    secretKey: 'S3RVER',
    stop: async () => {
      await ended(server, 'SIGTERM')
      await rm(folder, { recursive: true, force: true })
    },
  }
}

export async function ended(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const over = new Promise((resolve) => child.once('exit', resolve))
  child.kill(signal)
  await over
}

export async function until(check: () => Promise<unknown>, timeoutMs = 60_000): Promise<void> {
  const end = Date.now() + timeoutMs
  for (;;) {
    try {
      await check()
      return
    } catch (error) {
      if (Date.now() > end) throw error
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
}

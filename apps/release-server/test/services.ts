import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { ended, freePort } from '../../../tooling/vitest/postgres.ts'
import type { Service } from '../../../tooling/vitest/postgres.ts'

export { ended, freePort, startPostgres, until } from '../../../tooling/vitest/postgres.ts'
export type { Service } from '../../../tooling/vitest/postgres.ts'

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

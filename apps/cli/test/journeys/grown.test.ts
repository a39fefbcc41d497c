import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import type { Server, Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { ended, freePort, startPostgres, until } from '../../../../tooling/vitest/postgres.ts'
import type { Service } from '../../../../tooling/vitest/postgres.ts'
import { startS3 } from '../../../release-server/test/services.ts'
import { Journey } from '../support/journey.ts'

const SERVER = fileURLToPath(new URL('../../../release-server/src/main.ts', import.meta.url))

let journey: Journey
let replicas: ChildProcess[] = []
let services: Service[] = []
let balancer: Server | undefined
beforeEach(async () => {
  journey = await Journey.begin()
})
afterEach(async () => {
  for (const replica of replicas) await ended(replica, 'SIGKILL')
  balancer?.close()
  await journey.end()
  for (const service of services) await service.stop()
  replicas = []
  services = []
})

/** Settings as the guide to scaling out has them. */
async function settingsFile(name: string, database: string, more: object): Promise<string> {
  const s3 = await startS3()
  services.push(s3)
  await writeFile(journey.path('s3.secret'), `${s3.secretKey}\n`, { mode: 0o600 })
  const settings = {
    KEYTURN_DATABASE_URL: database,
    KEYTURN_S3_URL: `${s3.url}/releases`,
    KEYTURN_S3_ACCESS_KEY: s3.accessKey,
    KEYTURN_S3_SECRET_KEY_FILE: journey.path('s3.secret'),
    KEYTURN_PASSPHRASE_FILE: journey.path('passphrase'),
    ...more,
  }
  await writeFile(journey.path(name), JSON.stringify(settings))
  return journey.path(name)
}

async function startReplica(settings: string): Promise<{ readonly process: ChildProcess; readonly port: number }> {
  const port = await freePort()
  const replica = spawn(process.execPath, [SERVER, '--config', settings, 'serve'], {
    env: {
      PATH: process.env['PATH'] ?? '',
      ...journey.environment(),
      KEYTURN_PORT: String(port),
      NODE_NO_WARNINGS: '1',
    },
    stdio: 'ignore',
  })
  replicas.push(replica)
  await until(async () => {
    if (!(await fetch(`http://127.0.0.1:${port}/readyz`)).ok) throw new Error('not ready')
  })
  return { process: replica, port }
}

/** A load balancer: each connection goes to the first replica that takes it. */
async function balance(port: number, ports: readonly number[]): Promise<void> {
  const pass = (client: Socket, [first, ...rest]: readonly number[]): void => {
    if (first === undefined) return void client.destroy()
    const replica = connect(first, '127.0.0.1')
    replica.once('connect', () => {
      replica.removeAllListeners('error').on('error', () => client.destroy())
      client.pipe(replica).pipe(client)
    })
    replica.once('error', () => pass(client, rest))
    client.on('error', () => replica.destroy())
  }
  balancer = createServer((client) => pass(client, ports)).listen(port, '127.0.0.1')
  await new Promise((resolve) => balancer?.once('listening', resolve))
}

it('a studio that grew: its server moves to PostgreSQL and a bucket, a replica dies, and players notice nothing', async ({
  skip,
}) => {
  const postgres = await startPostgres()
  if (postgres === undefined) return skip('PostgreSQL is not installed')
  services.push(postgres)
  await journey.open()
  await journey.build({ 'data/a.txt': 'first', 'read.me': 'one' })
  await journey.keyturn(['ship', '--version-name', '1.0'])
  await journey.update('player')

  const settings = await settingsFile('replicas.json', postgres.url, {})
  expect(await journey.operate('server', 'migrate', '--to', settings)).toContain('both sides are equal')
  const old = journey.server
  await old.stop()
  const [one, two] = [await startReplica(settings), await startReplica(settings)]
  await balance(Number(new URL(old.url).port), [one.port, two.port])
  await journey.update('player')

  await ended(one.process, 'SIGKILL')
  await journey.keyturn(['rotate', 'content'])
  await journey.build({ 'read.me': 'two' })
  await journey.keyturn(['ship', '--version-name', '1.1'])
  for (const player of ['player', 'late']) {
    await journey.update(player)
    expect((await journey.disk(player))['read.me'], player).toBe('two')
  }
})

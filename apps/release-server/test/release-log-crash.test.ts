import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseLogEntry } from '@keyturn/manifest'
import { utf8Encode } from '@keyturn/primitives'
import {
  fetchCheckpoint,
  fetchWitnessed,
  followLog,
  httpTileSource,
  parsePolicy,
  parseVerifierKey,
  verifyCheckpoint,
} from '@keyturn/tlog'
import type { FrontierState, Policy } from '@keyturn/tlog'
import { expect, it } from 'vitest'
import { ReleaseServerClient } from '@keyturn/release-client'
import { writeFile } from 'node:fs/promises'
import { openFolderBlobStore } from '../src/storage/folder-blob-store.ts'
import type { MetadataStore, RecordWriter } from '../src/storage/metadata-store.ts'
import { openSqliteMetadataStore } from '../src/storage/sqlite-metadata-store.ts'
import { createTokenByCommand, runServer } from './processes.ts'
import type { ServerProcess } from './processes.ts'
import { TestPublisher } from './publisher.ts'
import { freePort, freshDatabase, startPostgres } from './services.ts'
import { atEnd, startServer, temporaryFolder } from './support.ts'
import type { RunningServer } from './support.ts'

const vault = { passphrase: 'test', scryptLogN: 10 }
const ORIGIN = 'log.example'
/** Every how many steps of an append the server dies; the campaign takes each. */
const STRIDE = Number(process.env['KEYTURN_LOG_STRIDE'] ?? '4')
const policyOf = (text: string): Policy => parsePolicy(utf8Encode(text))

async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds().catch(() => false))) await sleep(20)
}

/** Somebody who reads the log from its beginning on: a fork of any kind makes `look` throw. */
class Reader {
  readonly entries: string[] = []
  #state: FrontierState | undefined

  async look(url: string, key: string): Promise<void> {
    const prefix = `${url}/p/metin2/log`
    const head = verifyCheckpoint(await fetchCheckpoint(prefix), parseVerifierKey(key))
    const { entries, state } = await followLog(httpTileSource(prefix), head, this.#state)
    this.entries.push(...entries.map((bytes) => Buffer.from(bytes).toString()))
    this.#state = state
  }

  /** Sequences of the releases in it, each as often as it is there. */
  get releases(): number[] {
    return this.entries
      .map((text) => parseLogEntry(utf8Encode(text)))
      .filter(({ type }) => type === 'release')
      .map(({ number }) => number)
  }
}

/** A store that dies at the n-th call of an append: what was not committed by then is lost, and nothing goes on. */
function dying(store: MetadataStore, at: number): { store: MetadataStore; died: () => boolean } {
  let left = at
  let isDead = false
  const step = (): void => {
    left -= 1
    if (left <= 0) isDead = true
    if (isDead) throw new Error('killed')
  }
  const counted = (records: RecordWriter): RecordWriter =>
    new Proxy(records, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name, target)
        if (typeof value !== 'function') return value
        return (...args: unknown[]) => {
          step()
          return (value as (...all: unknown[]) => unknown).apply(target, args)
        }
      },
    })
  const transaction: MetadataStore['transaction'] = async (locks, work) => {
    if (!locks.some((lock) => lock.startsWith('release-log:'))) return await store.transaction(locks, work)
    step()
    const result = await store.transaction(locks, (records) => work(counted(records)))
    step()
    return result
  }
  const dead = new Proxy(store, {
    get: (target, name) => {
      if (name === 'transaction') return transaction
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
  return { store: dead, died: () => isDead }
}

it('a server that dies at any step of an append neither forks its log nor loses an entry (row 390)', async () => {
  const dataDir = await temporaryFolder()
  const log = { origin: ORIGIN, policy: policyOf('quorum none\n') }
  const publisher = await TestPublisher.create()
  const first = await startServer({ dataDir, vault, releaseLog: log })
  const admin = await first.client(['admin'])
  await publisher.introduce(admin)
  await until(async () => (await admin.getReleaseLog('metin2')) !== undefined)
  const { key } = (await admin.getReleaseLog('metin2'))!
  await first.server.close()
  const witness = await startServer({
    vault,
    logWitness: { name: 'w.example/w', logs: policyOf(`log ${key}\nquorum none\n`).logs },
  })
  const line = (await (await fetch(`${witness.url}/log-witness`)).text()).trim()
  const policy = policyOf(`log ${key}\nwitness w ${line} ${witness.url}/log-witness\nquorum w\n`)
  const reader = new Reader()
  const finish = async (): Promise<void> => {
    const healthy = await startServer({ dataDir, vault, releaseLog: { ...log, policy } })
    const client = await healthy.client(['admin'])
    await until(async () => {
      const view = await client.getReleaseLog('metin2')
      return view?.size === 1 + 2 * published && view.unproved.length === 0
    })
    await reader.look(healthy.url, key)
    await healthy.server.close()
  }
  let [published, steps, rounds, isWhole] = [0, 1, 0, false]
  // Each round publishes one release and dies later than the round before; a healthy server then goes on.
  for (; !isWhole; steps += STRIDE) {
    rounds += 1
    const blobs = await openFolderBlobStore(join(dataDir, 'blobs'))
    const { store, died } = dying(openSqliteMetadataStore(join(dataDir, 'metadata.sqlite')), steps)
    const running: RunningServer = await startServer({ blobs, metadata: store, vault, releaseLog: { ...log, policy } })
    const client = await running.client(['admin'])
    await publisher.publish(client, await publisher.release({ 'a.txt': utf8Encode(`content ${steps}`) }))
    published += 1
    const isProved = async (): Promise<boolean> => {
      const view = await client.getReleaseLog('metin2')
      return view !== undefined && view.size === 1 + 2 * published && view.unproved.length === 0
    }
    await until(async () => died() || (await isProved()))
    isWhole = !died()
    await reader.look(running.url, key)
    await running.server.close()
    await finish()
  }
  expect(reader.releases).toEqual(Array.from({ length: published }, (_, at) => at + 1))
  expect(new Set(reader.entries).size).toBe(reader.entries.length)
  const seen = verifyCheckpoint(
    await fetchWitnessed(`${witness.url}/log-witness`, `${ORIGIN}/p/metin2/log`),
    parseVerifierKey(key),
  )
  expect(seen.size).toBe(reader.entries.length)
  expect(steps).toBeGreaterThan(20)
  console.info(`an append of one release was stopped ${rounds - 1} times, at every ${STRIDE}. of ${steps} steps`)
}, 900_000)

it('replicas on PostgreSQL, kill -9 in every publish: one log, each entry once, no fork (row 391)', async (context) => {
  const postgres = await startPostgres()
  if (postgres === undefined) {
    console.info('PostgreSQL is not installed: the replicas are not run')
    return context.skip()
  }
  atEnd(() => postgres.stop())
  const folder = await temporaryFolder()
  await writeFile(join(folder, 'passphrase'), 'test\n', { mode: 0o600 })
  const environment = {
    KEYTURN_DATABASE_URL: await freshDatabase(postgres.url),
    KEYTURN_DATA_DIR: join(folder, 'data'),
    KEYTURN_PASSPHRASE_FILE: join(folder, 'passphrase'),
    KEYTURN_LOG_ORIGIN: ORIGIN,
  }
  const token = await createTokenByCommand(environment)
  const ports = [await freePort(), await freePort()]
  const start = (at: number): Promise<ServerProcess> => runServer({ ...environment, KEYTURN_PORT: String(ports[at]) })
  const replicas: ServerProcess[] = [await start(0), await start(1)]
  atEnd(() => Promise.all(replicas.map((replica) => replica.stop('SIGKILL'))))
  const client = (at: number): ReleaseServerClient =>
    new ReleaseServerClient(replicas[at]!.url, { token, retries: 5, retryPauseMs: 50 })
  const publisher = await TestPublisher.create()
  await publisher.introduce(client(0))
  await until(async () => (await client(0).getReleaseLog('metin2')) !== undefined)
  const { key } = (await client(0).getReleaseLog('metin2'))!
  const reader = new Reader()
  const rounds = 6
  for (let round = 0; round < rounds; round += 1) {
    const [doomed, other] = [round % 2, (round + 1) % 2]
    // The publish goes to one replica; the other one is notified and appends at the same time.
    await publisher.publish(client(doomed), await publisher.release({ 'a.txt': utf8Encode(`round ${round}`) }))
    await sleep(round * 7)
    await replicas[doomed]!.stop('SIGKILL')
    await until(async () => (await client(other).getReleaseLog('metin2'))!.size === 1 + 2 * (round + 1))
    await reader.look(replicas[other]!.url, key)
    replicas[doomed] = await start(doomed)
    await reader.look(replicas[doomed].url, key)
  }
  expect(reader.releases).toEqual(Array.from({ length: rounds }, (_, at) => at + 1))
  expect(new Set(reader.entries).size).toBe(reader.entries.length)
}, 600_000)

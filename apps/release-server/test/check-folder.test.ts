import { cp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { initialTrustState, parseTrustRoot } from '@keyturn/manifest'
import { signKill } from '@keyturn/manifest/kill'
import { formatTime } from '@keyturn/manifest/publish'
import { utf8Encode } from '@keyturn/primitives'
import type { ReleaseServerClient } from '@keyturn/release-client'
import { originHash, parsePolicy } from '@keyturn/tlog'
import { beforeAll, describe, expect, it } from 'vitest'
import { checkServerFolder } from '../src/check-folder.ts'
import { saveSignerState } from '../src/head-signer/state.ts'
import { monitoredLogs, notSeenYet } from '../src/tlog/monitored-logs.ts'
import { signerOf, TestPublisher } from './publisher.ts'
import { someBytes, startServer, temporaryFolder } from './support.ts'
import type { RunningServer } from './support.ts'

let whole: string

/** What people do from day to day: a rule, a note, a webhook; launchers report, and another party's log is watched. */
async function dayToDay({ url, server, token }: RunningServer, client: ReleaseServerClient, version: string) {
  await client.setAutoHalt('metin2', 'stable', { percent: 90 })
  const headers = { authorization: `Bearer ${await token(['admin'])}`, 'content-type': 'application/json' }
  const post = async (path: string, body: object): Promise<void> => {
    const answer = await fetch(`${url}${path}`, { method: 'POST', headers, body: JSON.stringify(body) })
    if (!answer.ok) throw new Error(`${path}: ${await answer.text()}`)
  }
  await post('/v1/webhooks', { url: 'https://hooks.example.org/releases', events: ['channel.publish'] })
  await post(`/v1/products/metin2/channels/stable/releases/${version}/notes`, { text: 'looks well' })
  await post('/v1/reports', { product: 'metin2', channel: 'stable', version, step: 'confirmed' })
  await client.health('metin2', 'stable')
  const seen = { ...notSeenYet('their.example', 1), size: 3 }
  await server.context.metadata.transaction([], async (records) => {
    await monitoredLogs.put(records, { key: originHash('their.example'), value: seen })
  })
}

/** The folder of a server that published, logged, protected a channel, and got the notice that a key ended. */
async function usedFolder(): Promise<string> {
  const dataDir = await temporaryFolder()
  const releaseLog = { origin: 'log.example', policy: parsePolicy(utf8Encode('quorum none\n')) }
  const running = await startServer({ dataDir, vault: { passphrase: 'test', scryptLogN: 10 }, releaseLog })
  const client = await running.client(['admin'])
  const publisher = await TestPublisher.create()
  await publisher.introduce(client)
  await publisher.publish(client, await publisher.release({ 'a.bin': someBytes(3000), 'b.bin': someBytes(400_000) }))
  const second = await publisher.release({ 'a.bin': someBytes(3000) })
  await publisher.publish(client, second)
  await dayToDay(running, client, second.model.version)
  await client.protectChannel('metin2', 'stable', 'abcde-fghjk-mnpqr-stuvw')
  while ((await client.getReleaseLog('metin2'))?.unproved.length !== 0) await sleep(20)
  const kill = await signKill({ product: 'metin2', issuedAt: formatTime(Date.now()) }, signerOf('head 1'))
  await client.kill('metin2', kill)
  const { secret } = await running.server.createToken({ name: 'publisher', scopes: ['admin'], days: 1 })
  await writeFile(join(dataDir, 'publisher.token'), `${secret}\n`, { mode: 0o600 })
  const place = { folder: join(dataDir, 'head-signer'), product: 'metin2', channel: 'stable', pin: publisher.pin }
  await saveSignerState(place, { trust: initialTrustState(parseTrustRoot(publisher.pin)), publisherMs: 1 })
  await running.server.close()
  return dataDir
}

/** The end of each test removes folders: the whole one is kept by hand. */
beforeAll(async () => {
  const used = await usedFolder()
  whole = `${used}.whole`
  await cp(used, whole, { recursive: true, preserveTimestamps: true })
  return async () => await rm(whole, { recursive: true, force: true })
})

async function copied(): Promise<string> {
  const folder = join(await temporaryFolder(), 'data')
  await cp(whole, folder, { recursive: true })
  return folder
}

const deep = { deep: true }

interface StoredRow {
  readonly collection: string
  readonly key: string
  readonly value: string
  readonly body: Uint8Array | null
}

function withDatabase<T>(folder: string, use: (database: DatabaseSync) => T): T {
  const database = new DatabaseSync(join(folder, 'metadata.sqlite'))
  try {
    return use(database)
  } finally {
    database.close()
  }
}

const rowsOf = (folder: string): StoredRow[] =>
  withDatabase(folder, (database) => database.prepare('SELECT * FROM records').all() as unknown as StoredRow[])

/** Collections whose records are counters, caches, answers, or come back by themselves. */
const SPARE = ['idempotency', 'content-keys', 'downloads', 'reports', 'upload-usage', 'leases', 'checks', 'settings']
/** Counts of launchers; what another party's log was seen to hold, which is read from it again. */
const SEEN = ['funnel', 'monitored-logs']
/** Of the vault: sealed, and checked when a launcher asks for a key. */
const SEALED = ['vault-records', 'vault-documents']
/** Whose loss another record shows; the records themselves only lead there. */
const LEADS = ['release-versions', 'manifest-releases', 'release-log-places', 'release-log-unproved', 'witness-tips']

/** A tile of the log when it was smaller: nobody needs it any more. */
const EARLIER = /000\.p\/[123]$/

describe('checkServerFolder()', () => {
  it('finds nothing in the folder of a server as it was left, nor in one that was never used', async () => {
    expect(await checkServerFolder(await copied(), deep)).toEqual([])
    expect(await checkServerFolder(await temporaryFolder(), deep)).toEqual([])
  })

  it(
    'finds each record that is lost, and each body with one byte flipped (row 383)',
    { timeout: 120_000 },
    async () => {
      const folder = await copied()
      const unnoticed: string[] = []
      const keep = [...SPARE, ...SEEN, ...SEALED, ...LEADS]
      const rows = rowsOf(folder).filter(({ collection, key }) => !keep.includes(collection) && !EARLIER.test(key))
      const remove = 'DELETE FROM records WHERE collection = ? AND key = ?'
      const put = 'INSERT OR REPLACE INTO records (collection, key, value, body) VALUES (?, ?, ?, ?)'
      for (const { collection, key, value, body } of rows) {
        const at = body === null ? value.length >> 1 : body.length >> 1
        const flipped = body === null ? null : Uint8Array.from(body, (byte, place) => (place === at ? byte ^ 1 : byte))
        const cut = value.slice(0, value.length >> 1)
        withDatabase(folder, (database) => database.prepare(remove).run(collection, key))
        if ((await checkServerFolder(folder, { deep: false })).length === 0) unnoticed.push(`${collection} ${key} lost`)
        withDatabase(folder, (database) => database.prepare(put).run(collection, key, cut, body))
        if ((await checkServerFolder(folder, { deep: false })).length === 0) unnoticed.push(`${collection} ${key} cut`)
        if (flipped !== null) {
          withDatabase(folder, (database) => database.prepare(put).run(collection, key, value, flipped))
          if ((await checkServerFolder(folder, { deep: false })).length === 0)
            unnoticed.push(`${collection} ${key} flipped`)
        }
        withDatabase(folder, (database) => database.prepare(put).run(collection, key, value, body))
      }
      expect(rows.length).toBeGreaterThan(20)
      expect(rows.some(({ key }) => key.includes('log/tile/'))).toBe(true)
      expect(unnoticed).toEqual([])
      expect(await checkServerFolder(folder, deep)).toEqual([])
    },
  )

  it('finds tiles and a checkpoint that do not belong together, each whole by its own hash', async () => {
    const folder = await copied()
    const tile = rowsOf(folder).findLast(({ key }) => key.includes('log/tile/0/'))
    const other = Uint8Array.from(tile?.body ?? [], (byte) => byte ^ 1)
    const { createHash } = await import('node:crypto')
    const value = JSON.stringify({ sha256: createHash('sha256').update(other).digest('hex'), size: other.length })
    const sql = 'UPDATE records SET value = ?, body = ? WHERE collection = ? AND key = ?'
    withDatabase(folder, (database) => database.prepare(sql).run(value, other, 'documents', tile?.key ?? ''))
    const found = await checkServerFolder(folder, deep)
    expect(found).toMatchObject([{ part: 'records' }])
    expect(found[0]?.message).toContain('is not made from what is below it')
  })

  it('finds blobs that are lost, cut, or flipped, and the file of the database that is', async () => {
    const folder = await copied()
    const blobs = rowsOf(folder).filter(({ collection }) => collection === 'blobs')
    for (const { key } of blobs) {
      const path = join(folder, 'blobs', 'files', key.slice(0, 2), key)
      const bytes = await readFile(path)
      const flipped = Uint8Array.from(bytes, (byte, at) => (at === bytes.length >> 1 ? byte ^ 1 : byte))
      for (const damage of [undefined, bytes.subarray(0, 10), flipped]) {
        await rm(path, { force: true })
        if (damage !== undefined) await writeFile(path, damage)
        expect(await checkServerFolder(folder, deep)).toMatchObject([{ part: 'blobs' }])
      }
      await writeFile(path, bytes)
    }
    const database = join(folder, 'metadata.sqlite')
    const bytes = await readFile(database)
    for (const damage of [undefined, bytes.subarray(0, bytes.length >> 1), new Uint8Array(bytes.length).fill(1)]) {
      await rm(database, { force: true })
      if (damage !== undefined) await writeFile(database, damage, { mode: 0o600 })
      expect(await checkServerFolder(folder, deep)).toMatchObject([{ part: 'records', path: database }])
    }
  })

  it('finds a token that the server does not know, and a changed state of the head signer', async () => {
    const folder = await copied()
    const token = join(folder, 'publisher.token')
    await writeFile(token, (await readFile(token, 'utf8')).replace(/.\n$/, '_\n'))
    expect(await checkServerFolder(folder, deep)).toMatchObject([{ part: 'token', path: token }])
    await rm(token)
    const state = join(folder, 'head-signer', 'metin2', 'stable.json')
    const text = await readFile(state, 'utf8')
    for (const changed of ['', text.slice(0, 40), text.replace('"publisher_ms":1', '"publisher_ms":2')]) {
      await writeFile(state, changed)
      expect(await checkServerFolder(folder, deep)).toMatchObject([{ part: 'head-signer', path: state }])
    }
  })

  it.skipIf(process.platform === 'win32')('finds a database and a token that others can read', async () => {
    const folder = await copied()
    const { chmod } = await import('node:fs/promises')
    for (const name of ['metadata.sqlite', 'publisher.token', 'head-signer/metin2/stable.json']) {
      await chmod(join(folder, name), 0o644)
      const found = await checkServerFolder(folder, deep)
      expect(found).toMatchObject([{ part: 'modes', fix: `chmod go-rwx '${join(folder, name)}'` }])
      await chmod(join(folder, name), 0o600)
    }
  })
})

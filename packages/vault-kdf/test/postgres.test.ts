import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startPostgres } from '../../../tooling/vitest/postgres.ts'
import type { Service } from '../../../tooling/vitest/postgres.ts'
import { Vault } from '../src/index.ts'
import { PostgresAuditStore, PostgresStore } from '../src/postgres/index.ts'
import { sampleRecord, storeContract } from '../src/store-contract/index.ts'
import { memoryProvider } from '../src/testing/index.ts'

const service: Service | undefined = await startPostgres()
if (service === undefined) console.info('skipped: PostgreSQL is not installed')
let pool: pg.Pool
beforeAll(() => {
  pool = new pg.Pool({ connectionString: service?.url, max: 20 })
  pool.on('error', () => undefined)
})
afterAll(async () => {
  await pool.end()
  await service?.stop()
})

const prefix = (): string => `v${randomBytes(6).toString('hex')}`
const text = (value: string): Uint8Array => new TextEncoder().encode(value)

describe.skipIf(service === undefined)('in PostgreSQL', () => {
  storeContract({ name: 'PostgresStore', open: () => PostgresStore.open(pool, { prefix: prefix() }) }, { describe, it })

  async function open(): Promise<PostgresStore> {
    const store = await PostgresStore.open(pool, { prefix: prefix() })
    await store.apply([], {
      name: 'keyring',
      bytes: text('one'),
      expected: 'absent',
      fence: { epoch: 1, activeVersion: 1 },
    })
    return store
  }

  it('processes that start together make the tables once', async () => {
    const name = prefix()
    await Promise.all(Array.from({ length: 8 }, () => PostgresStore.open(pool, { prefix: name })))
    await expect(PostgresStore.open(pool, { prefix: 'x"; DROP TABLE y' })).rejects.toThrow(RangeError)
  })

  it('tables that are missing and a database that is away have codes', async () => {
    const store = await PostgresStore.open(pool, { prefix: prefix(), makeTables: false })
    await expect(store.get(sampleRecord('a'))).rejects.toMatchObject({ code: 'VK_STORE_IO' })
    const away = new pg.Pool({ connectionString: 'postgres://keyturn@127.0.0.1:1/none' })
    await expect(PostgresStore.open(away)).rejects.toMatchObject({ code: 'VK_STORE_IO' })
    await away.end()
  })

  it('many writers of one record: one of those who saw the same revision wins, and the count is exact', async () => {
    const store = await open()
    await store.apply([{ put: sampleRecord('a'), expected: 'absent' }])
    const revision = (await store.get(sampleRecord('a')))?.revision ?? 0
    const outcomes = await Promise.all(
      Array.from({ length: 16 }, () => store.apply([{ put: sampleRecord('a'), expected: revision }])),
    )
    expect(outcomes.flat().filter((outcome) => outcome === 'done')).toHaveLength(1)
    const made = await Promise.all(
      Array.from({ length: 16 }, () => store.apply([{ put: sampleRecord('new'), expected: 'absent' }])),
    )
    expect(made.flat().filter((outcome) => outcome === 'done')).toHaveLength(1)
    // Batches over the same records in opposite orders end, too.
    const names = ['b', 'c', 'd', 'e', 'f']
    const batch = (order: readonly string[]) =>
      store.apply(order.map((name) => ({ put: sampleRecord(name), expected: 'any' as const })))
    await Promise.all(Array.from({ length: 10 }, (_, at) => batch(at % 2 === 0 ? names : names.toReversed())))
    expect((await store.census()).reduce((sum, row) => sum + row.count, 0)).toBe(7)
  })

  it('no writer gets past a rotation: what is written under the old version was written before', async () => {
    const store = await open()
    let rotated = false
    const late: string[] = []
    const writers = Array.from({ length: 10 }, async (_, writer) => {
      for (let round = 0; round < 20; round++) {
        const after = rotated
        const [outcome] = await store.apply([{ put: sampleRecord(`${writer} ${round}`), expected: 'any' }])
        if (after && outcome === 'done') late.push(`${writer} ${round}`)
      }
    })
    await store.apply([], { name: 'keyring', bytes: text('two'), expected: 1, fence: { epoch: 2, activeVersion: 2 } })
    rotated = true
    await Promise.all(writers)
    expect(late).toEqual([])
    expect(await store.readFence()).toEqual({ epoch: 2, activeVersion: 2 })
  })

  it('a record is committed or rolled back with the rows it belongs to', async () => {
    const store = await PostgresStore.open(pool, { prefix: prefix() })
    const vault = await Vault.create(store, memoryProvider(), { audit: { store: new PostgresAuditStore(store) } })
    const cell = vault.partition('tenant').cell('user')
    const users = prefix()
    await pool.query(`CREATE TABLE ${users} (id TEXT PRIMARY KEY)`)
    const client = await pool.connect()
    const insert = async (id: string, end: 'COMMIT' | 'ROLLBACK') => {
      await client.query('BEGIN')
      await client.query(`INSERT INTO ${users} VALUES ($1)`, [id])
      expect(await store.within(client).apply([await cell.draft(id, text(`secret of ${id}`))])).toEqual(['done'])
      await client.query(end)
    }
    await insert('kept', 'COMMIT')
    await insert('dropped', 'ROLLBACK')
    expect(await cell.openText('kept')).toBe('secret of kept')
    await expect(cell.open('dropped')).rejects.toMatchObject({ code: 'VK_NOT_FOUND' })
    // Sealed before a rotation: refused, and the transaction goes on.
    const old = await cell.draft('late', text('late'))
    await vault.keys.rotate()
    await client.query('BEGIN')
    expect(await store.within(client).apply([old])).toEqual(['stale'])
    expect(await store.within(client).apply([await cell.draft('late', text('fresh'))])).toEqual(['done'])
    expect((await store.within(client).get({ partition: 'tenant', cell: 'user', name: 'late' }))?.keyVersion).toBe(2)
    await client.query('COMMIT')
    client.release()
    expect(await vault.census()).toMatchObject([
      { keyVersion: 1, count: 1 },
      { keyVersion: 2, count: 1 },
    ])
    expect(await vault.verifyAudit()).toMatchObject({ ok: true })
    await vault.close()
  })

  it('two processes share one vault: a rotation of one is that of the other', async () => {
    const store = await PostgresStore.open(pool, { prefix: prefix() })
    const provider = memoryProvider()
    const one = await Vault.create(store, provider, { audit: { store: new PostgresAuditStore(store) } })
    const two = await Vault.open(store, provider, {
      audit: { store: new PostgresAuditStore(store) },
      maxKeyringAgeMs: 0,
    })
    await one.partition('t').cell('c').sealJson('settings', { volume: 5 })
    await one.keys.rotate()
    await two.partition('t').cell('c').sealText('note', 'from two')
    expect(await two.partition('t').cell('c').openJson('settings')).toEqual({ volume: 5 })
    expect(await one.partition('t').cell('c').openText('note')).toBe('from two')
    await one.sweep()
    expect((await one.census()).map(({ keyVersion }) => keyVersion)).toEqual([2])
    await one.close()
    await two.close()
  })
})

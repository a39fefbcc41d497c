import { VaultError } from '../errors.ts'
import type { RecordId } from '../place.ts'
import { documentConflict, isStale, meetsExpectation } from '../store.ts'
import type { DocumentWrite, Fence, StoreChange, StoreOutcome, StoredRecord, VaultRecord } from '../store.ts'
import type { PgClient } from './client.ts'
import { rowToRecord } from './rows.ts'
import type { Tables } from './tables.ts'

/** Rows that share a count, so that writers seldom wait for each other to count. */
const CENSUS_SLOTS = 32

/** What a batch does to one record: what was there, and what will be. */
interface Plan {
  readonly id: RecordId
  readonly before: StoredRecord | undefined
  after: StoredRecord | undefined
}

type Counts = Map<string, { readonly of: VaultRecord; count: number; bytes: number }>

const idKey = ({ partition, cell, name }: RecordId): string => JSON.stringify([partition, cell, name])

/**
 * Applies a batch inside a transaction that has begun.
 *
 * @returns the outcomes, or `undefined` when another transaction made one of the records meanwhile: roll back, and
 *   try again.
 * @throws VaultError `VK_CONFLICT` when the document was changed by somebody else.
 */
export async function applyBatch(
  client: PgClient,
  tables: Tables,
  changes: readonly StoreChange[],
  document: DocumentWrite | undefined,
): Promise<StoreOutcome[] | undefined> {
  const fence = await lockFence(client, tables, document)
  const plans = await lockRecords(client, tables, changes)
  const outcomes: StoreOutcome[] = []
  for (const change of changes) {
    const plan = plans.get(idKey('put' in change ? change.put : change.remove)) as Plan
    outcomes.push(await decide(client, tables, { change, plan, fence }))
  }
  const touched = [...plans.values()].filter(({ before, after }) => before !== after)
  if (!(await writeRecords(client, tables, touched))) return undefined
  await writeCensus(client, tables, touched)
  return outcomes
}

/** A writer shares the fence with others; who writes a document takes it for itself. */
async function lockFence(client: PgClient, tables: Tables, document: DocumentWrite | undefined): Promise<Fence> {
  const mode = document === undefined ? 'SHARE' : 'UPDATE'
  const { rows } = await client.query(`SELECT epoch, active_version FROM ${tables.state} WHERE id = 1 FOR ${mode}`)
  const [row] = rows
  if (row === undefined) throw new VaultError('VK_STORE_DAMAGED', 'The table of the fence is empty')
  const version = row['active_version']
  const fence = { epoch: Number(row['epoch']), activeVersion: version === null ? undefined : Number(version) }
  return document === undefined ? fence : ((await writeDocument(client, tables, document)) ?? fence)
}

async function writeDocument(
  client: PgClient,
  tables: Tables,
  { name, bytes, expected, fence }: DocumentWrite,
): Promise<Fence | undefined> {
  const found = await client.query(`SELECT revision FROM ${tables.documents} WHERE name = $1 FOR UPDATE`, [name])
  const [row] = found.rows
  const revision = row === undefined ? undefined : Number(row['revision'])
  if (!meetsExpectation(expected, revision)) throw documentConflict(name)
  await client.query(
    `INSERT INTO ${tables.documents} VALUES ($1, $2, $3)
      ON CONFLICT (name) DO UPDATE SET bytes = excluded.bytes, revision = excluded.revision`,
    [name, Buffer.from(bytes), (revision ?? 0) + 1],
  )
  if (fence !== undefined)
    await client.query(`UPDATE ${tables.state} SET epoch = $1, active_version = $2 WHERE id = 1`, [
      fence.epoch,
      fence.activeVersion ?? null,
    ])
  return fence
}

/** Locks the records of a batch, all in one order, so that two batches never wait for each other in a circle. */
async function lockRecords(
  client: PgClient,
  tables: Tables,
  changes: readonly StoreChange[],
): Promise<Map<string, Plan>> {
  const ids = new Map(
    changes.map((change) => {
      const { partition, cell, name } = 'put' in change ? change.put : change.remove
      return [idKey({ partition, cell, name }), { partition, cell, name }] as const
    }),
  )
  if (ids.size === 0) return new Map()
  const { rows } = await client.query(
    `SELECT r.* FROM ${tables.records} r JOIN unnest($1::text[], $2::text[], $3::text[]) AS t (partition, cell, name)
      ON r.partition = t.partition AND r.cell = t.cell AND r.name = t.name
      ORDER BY r.partition, r.cell, r.name FOR UPDATE OF r`,
    columns([...ids.values()]),
  )
  const found = new Map(rows.map((row) => rowToRecord(row) as StoredRecord).map((record) => [idKey(record), record]))
  return new Map([...ids].map(([key, id]) => [key, { id, before: found.get(key), after: found.get(key) }]))
}

const columns = (ids: readonly RecordId[]): unknown[] => [
  ids.map(({ partition }) => partition),
  ids.map(({ cell }) => cell),
  ids.map(({ name }) => name),
]

async function decide(
  client: PgClient,
  tables: Tables,
  { change, plan, fence }: { readonly change: StoreChange; readonly plan: Plan; readonly fence: Fence },
): Promise<StoreOutcome> {
  const revision = plan.after?.revision
  if ('remove' in change) {
    if (revision === undefined || !meetsExpectation(change.expected, revision)) return 'conflict'
    plan.after = undefined
    return 'done'
  }
  const { put } = change
  if (isStale(put, fence)) return 'stale'
  if (!meetsExpectation(put.format === 'v0' ? 'absent' : change.expected, revision)) return 'conflict'
  const { rows } = await client.query(`SELECT nextval('${tables.revisions}') AS revision`)
  plan.after = { ...put, revision: Number(rows[0]?.['revision']) }
  return 'done'
}

/** False when a record that was not there is there now: nobody could lock it before. */
async function writeRecords(client: PgClient, tables: Tables, plans: readonly Plan[]): Promise<boolean> {
  const removed = plans.filter(({ after }) => after === undefined).map(({ id }) => id)
  if (removed.length > 0)
    await client.query(
      `DELETE FROM ${tables.records} r USING unnest($1::text[], $2::text[], $3::text[]) AS t (partition, cell, name)
        WHERE r.partition = t.partition AND r.cell = t.cell AND r.name = t.name`,
      columns(removed),
    )
  for (const isNew of [false, true]) {
    const written = plans.filter(({ before, after }) => after !== undefined && (before === undefined) === isNew)
    if (written.length === 0) continue
    const onConflict = isNew
      ? 'DO NOTHING'
      : `(partition, cell, name) DO UPDATE SET layer = excluded.layer, format = excluded.format,
          key_version = excluded.key_version, revision = excluded.revision, envelope = excluded.envelope,
          sidecar = excluded.sidecar, expires_at = excluded.expires_at`
    const { rowCount } = await client.query(
      `INSERT INTO ${tables.records} SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::smallint[],
        $5::text[], $6::bigint[], $7::bigint[], $8::bytea[], $9::bytea[], $10::bigint[]) ON CONFLICT ${onConflict}`,
      recordColumns(written.map(({ after }) => after as StoredRecord)),
    )
    if (rowCount !== written.length) return false
  }
  return true
}

const recordColumns = (records: readonly StoredRecord[]): unknown[] => [
  ...columns(records),
  records.map(({ layer }) => layer),
  records.map(({ format }) => format),
  records.map(({ keyVersion }) => keyVersion),
  records.map(({ revision }) => revision),
  records.map(({ envelope }) => Buffer.from(envelope)),
  records.map(({ sidecar }) => (sidecar === undefined ? null : Buffer.from(sidecar))),
  records.map(({ expiresAt }) => expiresAt ?? null),
]

async function writeCensus(client: PgClient, tables: Tables, plans: readonly Plan[]): Promise<void> {
  const counts: Counts = new Map()
  for (const { before, after } of plans) {
    if (before !== undefined) count(counts, before, -1)
    if (after !== undefined) count(counts, after, 1)
  }
  const changed = [...counts].filter(([, row]) => row.count !== 0 || row.bytes !== 0)
  if (changed.length === 0) return
  const slot = Math.floor(Math.random() * CENSUS_SLOTS)
  const rows = changed.toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row)
  await client.query(
    `INSERT INTO ${tables.census} AS c SELECT v, l, f, ${slot}, n, b
      FROM unnest($1::bigint[], $2::smallint[], $3::text[], $4::bigint[], $5::bigint[]) AS t (v, l, f, n, b)
      ON CONFLICT (key_version, layer, format, slot)
      DO UPDATE SET count = c.count + excluded.count, bytes = c.bytes + excluded.bytes`,
    [
      rows.map(({ of }) => of.keyVersion),
      rows.map(({ of }) => of.layer),
      rows.map(({ of }) => of.format),
      rows.map((row) => row.count),
      rows.map((row) => row.bytes),
    ],
  )
}

function count(counts: Counts, record: VaultRecord, sign: 1 | -1): void {
  const key = `${record.format} ${String(record.keyVersion).padStart(10, '0')} ${record.layer}`
  const row = counts.get(key) ?? { of: record, count: 0, bytes: 0 }
  row.count += sign
  row.bytes += sign * record.envelope.length
  counts.set(key, row)
}

import { toCensusRow } from '../database-row.ts'
import type { RecordId } from '../place.ts'
import type {
  CensusRow,
  DocumentWrite,
  Fence,
  ScanQuery,
  StoreChange,
  StoreOutcome,
  StoredRecord,
  VaultStore,
} from '../store.ts'
import { applyBatch } from './apply.ts'
import { databaseError, isPassing, onDatabase } from './client.ts'
import type { PgClient, PgPool } from './client.ts'
import { plainBytes, rowToRecord } from './rows.ts'
import { makeTables, tablesOf } from './tables.ts'
import type { Tables } from './tables.ts'

/** Options of {@link PostgresStore.open}. */
export interface PostgresStoreOptions {
  /** Begins the names of the tables; default `vault`. A database may hold several vaults. */
  readonly prefix?: string | undefined
  /** Whether tables that are missing are made; default true. Turn it off where migrations make them. */
  readonly makeTables?: boolean | undefined
}

/** A transaction that another one got in the way of is tried so often. */
const MAX_TRIES = 8

/**
 * A store in PostgreSQL, for any number of processes. Writers do not wait for each other unless they write the same
 * record: they share the row of the fence, which only a rotation takes for itself, and counts are kept in slots.
 */
export class PostgresStore implements VaultStore {
  readonly #pool: PgPool
  readonly #tables: Tables

  private constructor(pool: PgPool, tables: Tables) {
    this.#pool = pool
    this.#tables = tables
  }

  /**
   * Opens the vault of a database, and makes its tables.
   *
   * @param pool - `Pool` of the package `pg`, or anything like it. It stays yours: `close()` leaves it open.
   * @throws VaultError `VK_STORE_IO`; RangeError for a prefix that no table can have.
   */
  static async open(pool: PgPool, options: PostgresStoreOptions = {}): Promise<PostgresStore> {
    const tables = tablesOf(options.prefix ?? 'vault')
    if (options.makeTables !== false) await onDatabase(() => makeTables(pool, tables))
    return new PostgresStore(pool, tables)
  }

  /** Pool and names of the tables, for what else belongs there ({@link PostgresAuditStore}). */
  get place(): { readonly pool: PgPool; readonly tables: Tables } {
    return { pool: this.#pool, tables: this.#tables }
  }

  /**
   * The same store inside a transaction of yours: what it writes is committed or rolled back with it. Use it for `get`
   * and `apply`; a rotation waits until the transaction ends, so keep it short.
   *
   * @param client - A connection on which `BEGIN` was called.
   */
  within(client: PgClient): Pick<VaultStore, 'get' | 'apply'> {
    return {
      get: (id) => onDatabase(() => this.#get(client, id)),
      apply: (changes, document) => this.#retried(() => this.#inSavepoint(client, changes, document)),
    }
  }

  /** See {@link VaultStore.get}. */
  async get(id: RecordId): Promise<StoredRecord | undefined> {
    return await onDatabase(() => this.#get(this.#pool, id))
  }

  async #get(client: PgClient, { partition, cell, name }: RecordId): Promise<StoredRecord | undefined> {
    const sql = `SELECT * FROM ${this.#tables.records} WHERE partition = $1 AND cell = $2 AND name = $3`
    return rowToRecord((await client.query(sql, [partition, cell, name])).rows[0])
  }

  /** See {@link VaultStore.apply}. */
  async apply(changes: readonly StoreChange[], document?: DocumentWrite): Promise<readonly StoreOutcome[]> {
    return await this.#retried(() => this.#inTransaction(changes, document))
  }

  async #retried(work: () => Promise<StoreOutcome[] | undefined>): Promise<StoreOutcome[]> {
    for (let tries = 1; ; tries++) {
      try {
        const outcomes = await work()
        if (outcomes !== undefined) return outcomes
      } catch (error) {
        if (!isPassing(error) || tries === MAX_TRIES) throw databaseError(error)
      }
      if (tries === MAX_TRIES) throw databaseError(Object.assign(new Error('too many tries'), { code: '40001' }))
    }
  }

  async #inTransaction(
    changes: readonly StoreChange[],
    document: DocumentWrite | undefined,
  ): Promise<StoreOutcome[] | undefined> {
    const client = await this.#pool.connect()
    let broken = false
    try {
      await client.query('BEGIN ISOLATION LEVEL READ COMMITTED')
      const outcomes = await applyBatch(client, this.#tables, changes, document)
      await client.query(outcomes === undefined ? 'ROLLBACK' : 'COMMIT')
      return outcomes
    } catch (error) {
      await client.query('ROLLBACK').catch(() => (broken = true))
      throw error
    } finally {
      client.release(broken)
    }
  }

  async #inSavepoint(
    client: PgClient,
    changes: readonly StoreChange[],
    document: DocumentWrite | undefined,
  ): Promise<StoreOutcome[] | undefined> {
    await client.query('SAVEPOINT keyturn_vault')
    try {
      const outcomes = await applyBatch(client, this.#tables, changes, document)
      await client.query(`${outcomes === undefined ? 'ROLLBACK TO' : 'RELEASE'} SAVEPOINT keyturn_vault`)
      return outcomes
    } catch (error) {
      await client.query('ROLLBACK TO SAVEPOINT keyturn_vault')
      throw error
    }
  }

  /** See {@link VaultStore.scan}. */
  async scan(query: ScanQuery): Promise<readonly StoredRecord[]> {
    const { sql, values } = scanStatement(this.#tables.records, query)
    const { rows } = await onDatabase(() => this.#pool.query(sql, values))
    return rows.map((row) => rowToRecord(row) as StoredRecord) // a row that is there is a record
  }

  /** See {@link VaultStore.census}. */
  async census(): Promise<readonly CensusRow[]> {
    const sql = `SELECT key_version, layer, format, sum(count) AS count, sum(bytes) AS bytes FROM ${this.#tables.census}
      GROUP BY format, key_version, layer HAVING sum(count) > 0 ORDER BY format, key_version, layer`
    const { rows } = await onDatabase(() => this.#pool.query(sql))
    return rows.map(toCensusRow)
  }

  /** See {@link VaultStore.readDocument}. */
  async readDocument(name: string): Promise<{ bytes: Uint8Array; revision: number } | undefined> {
    const sql = `SELECT bytes, revision FROM ${this.#tables.documents} WHERE name = $1`
    const [row] = (await onDatabase(() => this.#pool.query(sql, [name]))).rows
    return row && { bytes: plainBytes(row['bytes']), revision: Number(row['revision']) }
  }

  /** See {@link VaultStore.readFence}. */
  async readFence(): Promise<Fence | undefined> {
    const sql = `SELECT epoch, active_version FROM ${this.#tables.state} WHERE id = 1`
    const [row] = (await onDatabase(() => this.#pool.query(sql))).rows
    if (row === undefined || Number(row['epoch']) === 0) return undefined
    return {
      epoch: Number(row['epoch']),
      activeVersion: row['active_version'] === null ? undefined : Number(row['active_version']),
    }
  }

  /**
   * See {@link VaultStore.forgetOverwritten}: writes the table of documents again. Its write-ahead log, replicas and
   * backups keep what they have for as long as they are kept.
   */
  async forgetOverwritten(): Promise<void> {
    await onDatabase(() => this.#pool.query(`VACUUM FULL ${this.#tables.documents}`))
  }

  /** Does nothing: the pool is the caller's. */
  async close(): Promise<void> {}
}

function scanStatement(records: string, query: ScanQuery): { sql: string; values: unknown[] } {
  const where: string[] = []
  const values: unknown[] = []
  const bind = (value: unknown): string => `$${values.push(value)}`
  if (query.keyVersion !== undefined) where.push(`format = 'v1' AND key_version = ${bind(query.keyVersion)}`)
  if (query.format !== undefined) where.push(`format = ${bind(query.format)}`)
  if (query.partition !== undefined) where.push(`partition = ${bind(query.partition)}`)
  if (query.cell !== undefined) where.push(`cell = ${bind(query.cell)}`)
  if (query.after !== undefined) {
    const { partition, cell, name } = query.after
    where.push(`(partition, cell, name) > (${bind(partition)}, ${bind(cell)}, ${bind(name)})`)
  }
  const condition = where.length === 0 ? '' : `WHERE ${where.join(' AND ')}`
  return {
    sql: `SELECT * FROM ${records} ${condition} ORDER BY partition, cell, name LIMIT ${bind(query.limit)}`,
    values,
  }
}

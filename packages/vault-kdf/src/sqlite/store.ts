import type { DatabaseSync as Database, SQLInputValue, StatementSync } from 'node:sqlite'
import type { RecordId } from '../place.ts'
import { documentConflict, isStale, meetsExpectation } from '../store.ts'
import type {
  CensusRow,
  DocumentWrite,
  Fence,
  ScanQuery,
  StoreChange,
  StoreOutcome,
  StoredRecord,
  VaultRecord,
  VaultStore,
} from '../store.ts'
import { VaultError } from '../errors.ts'
import { bytesOf, toCensusRow, toRecord } from '../database-row.ts'
import type { Row } from '../database-row.ts'
import { onDatabase } from './database-error.ts'
import { makePrivate } from './private-file.ts'

const schema = `
  CREATE TABLE IF NOT EXISTS vault_records (
    partition TEXT NOT NULL, cell TEXT NOT NULL, name TEXT NOT NULL,
    layer INTEGER NOT NULL, format TEXT NOT NULL, key_version INTEGER NOT NULL, revision INTEGER NOT NULL,
    envelope BLOB NOT NULL, sidecar BLOB, expires_at INTEGER,
    PRIMARY KEY (partition, cell, name)
  ) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS vault_records_by_version ON vault_records (format, key_version, partition, cell, name);
  CREATE TABLE IF NOT EXISTS vault_census (
    key_version INTEGER NOT NULL, layer INTEGER NOT NULL, format TEXT NOT NULL,
    count INTEGER NOT NULL, bytes INTEGER NOT NULL, PRIMARY KEY (key_version, layer, format)
  ) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS vault_documents (name TEXT PRIMARY KEY, bytes BLOB NOT NULL, revision INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS vault_state (
    id INTEGER PRIMARY KEY CHECK (id = 1), epoch INTEGER NOT NULL, active_version INTEGER, revision INTEGER NOT NULL, format INTEGER NOT NULL
  );
  INSERT OR IGNORE INTO vault_state VALUES (1, 0, NULL, 0, 1);
`

interface Statements {
  readonly get: StatementSync
  readonly put: StatementSync
  readonly remove: StatementSync
  readonly count: StatementSync
  readonly census: StatementSync
  readonly document: StatementSync
  readonly putDocument: StatementSync
  readonly state: StatementSync
  readonly putState: StatementSync
}

function prepare(database: Database): Statements {
  return {
    get: database.prepare('SELECT * FROM vault_records WHERE partition = ? AND cell = ? AND name = ?'),
    put: database.prepare('INSERT OR REPLACE INTO vault_records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)'),
    remove: database.prepare('DELETE FROM vault_records WHERE partition = ? AND cell = ? AND name = ?'),
    count: database.prepare(`INSERT INTO vault_census VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE
      SET count = count + excluded.count, bytes = bytes + excluded.bytes`),
    census: database.prepare('SELECT * FROM vault_census WHERE count > 0 ORDER BY format, key_version, layer'),
    document: database.prepare('SELECT bytes, revision FROM vault_documents WHERE name = ?'),
    putDocument: database.prepare('INSERT OR REPLACE INTO vault_documents VALUES (?, ?, ?)'),
    state: database.prepare('SELECT epoch, active_version, revision FROM vault_state WHERE id = 1'),
    putState: database.prepare('UPDATE vault_state SET epoch = ?, active_version = ?, revision = ? WHERE id = 1'),
  }
}

/** Asked for when it is needed: an import would fail without a code where the runtime has none. */
function requireSqlite(): typeof import('node:sqlite') {
  const sqlite = process.getBuiltinModule('node:sqlite')
  if (sqlite === undefined)
    throw new VaultError('VK_STORE_IO', 'Cannot open a vault in SQLite: this runtime has no node:sqlite', {
      hint: 'Use Node 22.13 or newer, or FolderStore',
    })
  return sqlite
}

/** Options of {@link SqliteStore.open}. */
export interface SqliteStoreOptions {
  /** How long a write waits for another process, milliseconds; default 5,000. */
  busyTimeoutMs?: number | undefined
}

/**
 * A store in one SQLite database (`node:sqlite`, from Node 22.13 on): WAL, synchronous FULL, so what was acknowledged
 * survives a power cut. Several processes may share it; the fence is checked in the same transaction as every write.
 */
export class SqliteStore implements VaultStore {
  readonly #database: Database
  readonly #statements: Statements
  readonly #scans = new Map<string, StatementSync>()

  private constructor(database: Database) {
    this.#database = database
    this.#statements = prepare(database)
  }

  /**
   * Opens or makes a database file (`:memory:` for none); its files are for their owner alone (mode 0600).
   *
   * @throws VaultError `VK_STORE_IO`, `VK_STORE_DAMAGED`.
   */
  static open(path: string, options: SqliteStoreOptions = {}): SqliteStore {
    return onDatabase(() => {
      const { DatabaseSync } = requireSqlite()
      makePrivate(path)
      const database = new DatabaseSync(path, { timeout: options.busyTimeoutMs ?? 5_000 })
      database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;')
      database.exec(schema)
      return new SqliteStore(database)
    })
  }

  /** The database itself, for what else belongs into it ({@link SqliteAuditStore}). */
  get database(): Database {
    return this.#database
  }

  /** See {@link VaultStore.get}. */
  async get(id: RecordId): Promise<StoredRecord | undefined> {
    return onDatabase(() => toRecord(this.#statements.get.get(id.partition, id.cell, id.name)))
  }

  /** See {@link VaultStore.apply}. */
  async apply(changes: readonly StoreChange[], document?: DocumentWrite): Promise<readonly StoreOutcome[]> {
    return onDatabase(() => {
      this.#database.exec('BEGIN IMMEDIATE')
      try {
        const outcomes = this.#applyInTransaction(changes, document)
        this.#database.exec('COMMIT')
        return outcomes
      } catch (error) {
        if (this.#database.isTransaction) this.#database.exec('ROLLBACK')
        throw error
      }
    })
  }

  #applyInTransaction(changes: readonly StoreChange[], document: DocumentWrite | undefined): StoreOutcome[] {
    let { fence, revision } = this.#state()
    if (document !== undefined) fence = this.#writeDocument(document) ?? fence
    const outcomes = changes.map((change): StoreOutcome => {
      const outcome = this.#change(change, fence, revision + 1)
      if (outcome === 'done' && 'put' in change) revision += 1
      return outcome
    })
    this.#statements.putState.run(fence.epoch, fence.activeVersion ?? null, revision)
    return outcomes
  }

  #writeDocument({ name, bytes, expected, fence }: DocumentWrite): Fence | undefined {
    const found = this.#statements.document.get(name) as Row | undefined
    const revision = found === undefined ? undefined : Number(found['revision'])
    if (!meetsExpectation(expected, revision)) throw documentConflict(name)
    this.#statements.putDocument.run(name, bytes, (revision ?? 0) + 1)
    return fence
  }

  #change(change: StoreChange, fence: Fence, revision: number): StoreOutcome {
    const id = 'put' in change ? change.put : change.remove
    const found = toRecord(this.#statements.get.get(id.partition, id.cell, id.name))
    if ('remove' in change) {
      if (found === undefined || !meetsExpectation(change.expected, found.revision)) return 'conflict'
      this.#count(found, -1)
      this.#statements.remove.run(id.partition, id.cell, id.name)
      return 'done'
    }
    const { put } = change
    if (isStale(put, fence)) return 'stale'
    if (!meetsExpectation(put.format === 'v0' ? 'absent' : change.expected, found?.revision)) return 'conflict'
    if (found !== undefined) this.#count(found, -1)
    this.#statements.put.run(
      put.partition,
      put.cell,
      put.name,
      put.layer,
      put.format,
      put.keyVersion,
      revision,
      put.envelope,
      put.sidecar ?? null,
      put.expiresAt ?? null,
    )
    this.#count(put, 1)
    return 'done'
  }

  #count(record: VaultRecord, sign: 1 | -1): void {
    this.#statements.count.run(record.keyVersion, record.layer, record.format, sign, sign * record.envelope.length)
  }

  /** See {@link VaultStore.scan}. */
  async scan(query: ScanQuery): Promise<readonly StoredRecord[]> {
    return onDatabase(() => {
      const { sql, values } = scanStatement(query)
      const statement = this.#scans.get(sql) ?? this.#database.prepare(sql)
      this.#scans.set(sql, statement)
      return statement.all(...values).map((row) => toRecord(row) as StoredRecord) // a row that is there is a record
    })
  }

  /** See {@link VaultStore.census}. */
  async census(): Promise<readonly CensusRow[]> {
    return onDatabase(() => this.#statements.census.all().map(toCensusRow))
  }

  /** See {@link VaultStore.readDocument}. */
  async readDocument(name: string): Promise<{ bytes: Uint8Array; revision: number } | undefined> {
    return onDatabase(() => {
      const row = this.#statements.document.get(name)
      return row === undefined ? undefined : { bytes: bytesOf(row['bytes']), revision: Number(row['revision']) }
    })
  }

  /** See {@link VaultStore.readFence}. */
  async readFence(): Promise<Fence | undefined> {
    return onDatabase(() => {
      const { fence } = this.#state()
      return fence.epoch === 0 ? undefined : fence
    })
  }

  #state(): { readonly fence: Fence; readonly revision: number } {
    const row = this.#statements.state.get() as Row
    const activeVersion = row['active_version'] === null ? undefined : Number(row['active_version'])
    return { fence: { epoch: Number(row['epoch']), activeVersion }, revision: Number(row['revision']) }
  }

  /**
   * See {@link VaultStore.forgetOverwritten}: freed pages are zeroed as they are freed, and the log is emptied here.
   */
  async forgetOverwritten(): Promise<void> {
    onDatabase(() => this.#database.exec('PRAGMA wal_checkpoint(TRUNCATE)'))
  }

  /** Closes the database. */
  async close(): Promise<void> {
    if (this.#database.isOpen) this.#database.close()
  }
}

function scanStatement(query: ScanQuery): { sql: string; values: SQLInputValue[] } {
  const where: string[] = []
  const values: SQLInputValue[] = []
  const add = (clause: string, ...more: SQLInputValue[]): void => {
    where.push(clause)
    values.push(...more)
  }
  if (query.keyVersion !== undefined) add("format = 'v1' AND key_version = ?", query.keyVersion)
  if (query.format !== undefined) add('format = ?', query.format)
  if (query.partition !== undefined) add('partition = ?', query.partition)
  if (query.cell !== undefined) add('cell = ?', query.cell)
  if (query.after !== undefined)
    add('(partition, cell, name) > (?, ?, ?)', query.after.partition, query.after.cell, query.after.name)
  const condition = where.length === 0 ? '' : `WHERE ${where.join(' AND ')}`
  return {
    sql: `SELECT * FROM vault_records ${condition} ORDER BY partition, cell, name LIMIT ?`,
    values: [...values, query.limit],
  }
}

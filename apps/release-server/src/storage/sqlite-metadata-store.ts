import { chmodSync, closeSync, existsSync, openSync, statSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import type { StatementSync } from 'node:sqlite'
import { OneAtATime } from '@keyturn/primitives'
import type { JsonValue } from '@keyturn/primitives'
import { systemErrorCode } from '@keyturn/primitives/node'
import { ServerError } from '../errors.ts'
import type {
  ListQuery,
  MetadataStore,
  NewRecord,
  NotificationListener,
  RecordReader,
  RecordWriter,
  StoredRecord,
} from './metadata-store.ts'

const SCHEMA = `
CREATE TABLE IF NOT EXISTS records (
  collection TEXT NOT NULL,
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  body BLOB,
  PRIMARY KEY (collection, key)
) WITHOUT ROWID;
`

interface Row {
  key: string
  value: string
  body?: Uint8Array | null
}

/**
 * Opens (and creates) a metadata store in one SQLite file, mode 0600. Writes go through one connection, one transaction
 * at a time; reads through another one, which sees only whole transactions (WAL). Acknowledged means on the disk
 * (`synchronous=FULL`).
 *
 * @param path - File, or `:memory:` for tests.
 */
export function openSqliteMetadataStore(path: string): MetadataStore {
  return new SqliteMetadataStore(path)
}

/**
 * What is wrong with the pages of an SQLite file, in SQLite's words; empty when nothing is. The file is only read.
 *
 * @param path - It has to exist.
 */
export function findSqliteDamage(path: string): string[] {
  const database = new DatabaseSync(path, { readOnly: true })
  try {
    const lines = database.prepare('PRAGMA integrity_check(10)').all()
    return lines.map((line) => String(line['integrity_check'])).filter((line) => line !== 'ok')
  } catch (error) {
    return [error instanceof Error ? error.message : String(error)]
  } finally {
    database.close()
  }
}

const MEMORY = ':memory:'

/** Only the owner reads the database, from its creation on; SQLite gives its sidecars the mode of the file itself. */
function makePrivate(path: string): void {
  try {
    closeSync(openSync(path, 'ax', 0o600))
  } catch (error) {
    if (systemErrorCode(error) !== 'EEXIST') throw error
  }
  // One that an earlier version made under a wide umask, with what it left beside it.
  if (process.platform === 'win32') return
  for (const file of [path, `${path}-wal`, `${path}-shm`]) {
    if (existsSync(file) && (statSync(file).mode & 0o077) !== 0) chmodSync(file, 0o600)
  }
}

function connect(path: string): DatabaseSync {
  if (path !== MEMORY) makePrivate(path)
  const database = new DatabaseSync(path)
  database.exec('PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA busy_timeout=10000; PRAGMA foreign_keys=ON')
  return database
}

class SqliteMetadataStore implements MetadataStore {
  readonly kind = 'sqlite'
  readonly #writer: DatabaseSync
  readonly #reader: DatabaseSync
  readonly #writes: SqliteRecords
  readonly #reads: SqliteRecords
  readonly #queue = new OneAtATime()
  readonly #listeners = new Set<NotificationListener>()

  constructor(path: string) {
    this.#writer = connect(path)
    this.#writer.exec(SCHEMA)
    this.#reader = path === MEMORY ? this.#writer : connect(path)
    this.#writes = new SqliteRecords(this.#writer)
    this.#reads = path === MEMORY ? this.#writes : new SqliteRecords(this.#reader)
  }

  get(collection: string, key: string): Promise<StoredRecord | undefined> {
    return this.#reads.get(collection, key)
  }

  getMany(collection: string, keys: readonly string[]): Promise<StoredRecord[]> {
    return this.#reads.getMany(collection, keys)
  }

  list(collection: string, query?: ListQuery): Promise<StoredRecord[]> {
    return this.#reads.list(collection, query)
  }

  transaction<T>(_locks: readonly string[], work: (records: RecordWriter) => Promise<T>): Promise<T> {
    return this.#queue.run(async () => {
      const notices: [string, string][] = []
      this.#writer.exec('BEGIN IMMEDIATE')
      let result: T
      try {
        result = await work(new SqliteWriter(this.#writes, notices))
        this.#writer.exec('COMMIT')
      } catch (error) {
        // A full disk ends the transaction by itself.
        if (this.#writer.isTransaction) this.#writer.exec('ROLLBACK')
        throw named(error)
      }
      for (const [topic, text] of notices) for (const listener of this.#listeners) listener(topic, text)
      return result
    })
  }

  subscribe(listener: NotificationListener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  async collections(): Promise<string[]> {
    const rows = this.#reader.prepare('SELECT DISTINCT collection FROM records ORDER BY collection').all()
    return rows.map((row) => String(row['collection']))
  }

  async ping(): Promise<void> {
    this.#reader.prepare('SELECT 1').get()
  }

  async close(): Promise<void> {
    await this.#queue.run(async () => {
      if (this.#reader !== this.#writer) this.#reader.close()
      this.#writer.close()
    })
  }
}

/** Primary result codes of SQLite that say what the disk did. */
const DISK_ERRORS: Readonly<Record<number, 'UP_DISK_FULL' | 'SRV_UNAVAILABLE' | 'SRV_STORAGE'>> = {
  5: 'SRV_UNAVAILABLE',
  10: 'SRV_STORAGE',
  11: 'SRV_STORAGE',
  13: 'UP_DISK_FULL',
}

function named(error: unknown): unknown {
  const { errcode } = error as { errcode?: unknown }
  const code = typeof errcode === 'number' ? DISK_ERRORS[errcode & 0xff] : undefined
  return code === undefined
    ? error
    : new ServerError(code, 'Cannot write metadata: the database file refused it', { cause: error })
}

/**
 * Highest key that begins with `prefix`, as an exclusive bound: keys are well-formed text, so U+10FFFF is above all.
 */
function aboveAll(prefix: string): string {
  return `${prefix}\u{10ffff}`
}

class SqliteRecords implements RecordReader {
  readonly #database: DatabaseSync
  readonly #statements = new Map<string, StatementSync>()

  constructor(database: DatabaseSync) {
    this.#database = database
  }

  /** Prepares a statement once. */
  statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql)
    if (statement === undefined) {
      statement = this.#database.prepare(sql)
      this.#statements.set(sql, statement)
    }
    return statement
  }

  async get(collection: string, key: string): Promise<StoredRecord | undefined> {
    const row = this.statement('SELECT key, value, body FROM records WHERE collection = ? AND key = ?').get(
      collection,
      key,
    )
    return row === undefined ? undefined : record(row as unknown as Row)
  }

  async getMany(collection: string, keys: readonly string[]): Promise<StoredRecord[]> {
    const sql = 'SELECT key, value FROM records WHERE collection = ? AND key IN (SELECT value FROM json_each(?))'
    return (this.statement(sql).all(collection, JSON.stringify(keys)) as unknown as Row[]).map(record)
  }

  async list(collection: string, query: ListQuery = {}): Promise<StoredRecord[]> {
    const { prefix = '', after, limit = 1000, reverse = false, bodies = false } = query
    const low = reverse || after === undefined || after < prefix ? prefix : after
    const high = reverse && after !== undefined ? after : aboveAll(prefix)
    const strict = low === after && !reverse ? '>' : '>='
    const sql = `SELECT key, value${bodies ? ', body' : ''} FROM records WHERE collection = ? AND key ${strict} ? AND key < ?
      ORDER BY key ${reverse ? 'DESC' : 'ASC'} LIMIT ?`
    return (this.statement(sql).all(collection, low, high, limit) as unknown as Row[]).map(record)
  }
}

class SqliteWriter implements RecordWriter {
  readonly #records: SqliteRecords
  readonly #notices: [string, string][]

  constructor(records: SqliteRecords, notices: [string, string][]) {
    this.#records = records
    this.#notices = notices
  }

  get(collection: string, key: string): Promise<StoredRecord | undefined> {
    return this.#records.get(collection, key)
  }

  getMany(collection: string, keys: readonly string[]): Promise<StoredRecord[]> {
    return this.#records.getMany(collection, keys)
  }

  list(collection: string, query?: ListQuery): Promise<StoredRecord[]> {
    return this.#records.list(collection, query)
  }

  async put(collection: string, ...records: NewRecord[]): Promise<void> {
    const statement = this.#records.statement(
      'INSERT INTO records (collection, key, value, body) VALUES (?, ?, ?, ?) ON CONFLICT (collection, key) DO ' +
        'UPDATE SET value = excluded.value, body = excluded.body',
    )
    for (const { key, value, body } of records) statement.run(collection, key, JSON.stringify(value), body ?? null)
  }

  async insert(collection: string, { key, value, body }: NewRecord): Promise<boolean> {
    const sql = 'INSERT INTO records (collection, key, value, body) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING'
    return this.#records.statement(sql).run(collection, key, JSON.stringify(value), body ?? null).changes === 1
  }

  async delete(collection: string, ...keys: string[]): Promise<void> {
    const statement = this.#records.statement('DELETE FROM records WHERE collection = ? AND key = ?')
    for (const key of keys) statement.run(collection, key)
  }

  async notify(topic: string, text: string): Promise<void> {
    this.#notices.push([topic, text])
  }
}

function record(row: Row): StoredRecord {
  return { key: row.key, value: JSON.parse(row.value) as JsonValue, body: row.body ?? undefined }
}

import pg from 'pg'
import type { Pool, PoolClient } from 'pg'
import type { JsonValue } from '@keyturn/primitives'
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

/** Keys compare by bytes (`COLLATE "C"`), as in the other store. */
const SCHEMA = `
CREATE TABLE IF NOT EXISTS keyturn_records (
  collection TEXT COLLATE "C" NOT NULL,
  key TEXT COLLATE "C" NOT NULL,
  value TEXT NOT NULL,
  body BYTEA,
  PRIMARY KEY (collection, key)
)`
const CHANNEL = 'keyturn'
/** Held while the table is created: two replicas that start at the same time must not both try. */
const SCHEMA_LOCK = 'keyturn:schema'

interface Row {
  key: string
  value: string
  body?: Buffer | null
}

/** Options of {@link openPostgresMetadataStore}. */
export interface PostgresOptions {
  /** Connections of this process; default 10. */
  readonly maxConnections?: number | undefined
  /** Called when the connection for notices is lost and restored. */
  readonly onConnection?: ((state: 'lost' | 'found') => void) | undefined
}

/**
 * Opens (and creates) a metadata store in a PostgreSQL database that any number of servers may share. Transactions take
 * their locks as advisory locks, in order of their names; notices are sent by LISTEN and NOTIFY.
 *
 * @throws ServerError `SRV_UNAVAILABLE` when the database does not answer.
 */
export async function openPostgresMetadataStore(url: string, options: PostgresOptions = {}): Promise<MetadataStore> {
  const pool = new pg.Pool({
    connectionString: url,
    max: options.maxConnections ?? 10,
    connectionTimeoutMillis: 10_000,
    allowExitOnIdle: true,
  })
  // An idle connection that breaks is replaced at the next query; without a listener it would end the process.
  pool.on('error', () => undefined)
  const store = new PostgresMetadataStore(url, pool, options)
  await store.prepare()
  return store
}

/** Errors that mean "the database is away", whatever was asked. */
function isAway(error: unknown): boolean {
  const { code, message } = error as { code?: string; message?: string }
  return (
    /^(?:08|57P0)/.test(code ?? '') ||
    ['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'ENOTFOUND'].includes(code ?? '') ||
    /terminated|timeout exceeded|Connection ended/i.test(message ?? '')
  )
}

async function asked<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (isAway(error)) throw new ServerError('SRV_UNAVAILABLE', 'The database does not answer', { cause: error })
    throw error
  }
}

class PostgresMetadataStore implements MetadataStore {
  readonly kind = 'postgres'
  readonly #url: string
  readonly #pool: Pool
  readonly #reads: PostgresRecords
  readonly #options: PostgresOptions
  readonly #listeners = new Set<NotificationListener>()
  #notices: pg.Client | undefined
  #closed = false

  constructor(url: string, pool: Pool, options: PostgresOptions) {
    this.#url = url
    this.#pool = pool
    this.#options = options
    this.#reads = new PostgresRecords(pool)
  }

  /** Creates the table and starts to listen. */
  async prepare(): Promise<void> {
    await asked(async () => {
      const client = await this.#pool.connect()
      try {
        await client.query('BEGIN')
        await client.query('SELECT pg_advisory_xact_lock(hashtextextended($1, 0))', [SCHEMA_LOCK])
        await client.query(SCHEMA)
        await client.query('COMMIT')
      } finally {
        client.release()
      }
    })
    await this.#listen()
  }

  get(collection: string, key: string): Promise<StoredRecord | undefined> {
    return asked(() => this.#reads.get(collection, key))
  }

  getMany(collection: string, keys: readonly string[]): Promise<StoredRecord[]> {
    return asked(() => this.#reads.getMany(collection, keys))
  }

  list(collection: string, query?: ListQuery): Promise<StoredRecord[]> {
    return asked(() => this.#reads.list(collection, query))
  }

  transaction<T>(locks: readonly string[], work: (records: RecordWriter) => Promise<T>): Promise<T> {
    return asked(async () => {
      const client = await this.#pool.connect()
      let broken: Error | undefined
      try {
        await client.query('BEGIN')
        for (const lock of [...new Set(locks)].sort())
          await client.query('SELECT pg_advisory_xact_lock(hashtextextended($1, 0))', [lock])
        const result = await work(new PostgresWriter(client))
        await client.query('COMMIT')
        return result
      } catch (error) {
        await client.query('ROLLBACK').catch((cause: unknown) => {
          broken = cause as Error
        })
        throw error
      } finally {
        client.release(broken)
      }
    })
  }

  subscribe(listener: NotificationListener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  collections(): Promise<string[]> {
    return asked(async () => {
      const { rows } = await this.#pool.query<{ collection: string }>(
        'SELECT DISTINCT collection FROM keyturn_records ORDER BY collection',
      )
      return rows.map((row) => row.collection)
    })
  }

  async ping(): Promise<void> {
    await asked(() => this.#pool.query('SELECT 1'))
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#notices?.end().catch(() => undefined)
    await this.#pool.end()
  }

  async #listen(): Promise<void> {
    const client = new pg.Client({ connectionString: this.#url, keepAlive: true })
    client.on('error', () => this.#lost(client))
    client.on('end', () => this.#lost(client))
    client.on('notification', ({ payload = '' }) => {
      const space = payload.indexOf(' ')
      this.#deliver(payload.slice(0, space), payload.slice(space + 1))
    })
    await asked(async () => {
      await client.connect()
      await client.query(`LISTEN ${CHANNEL}`)
    })
    this.#notices = client
  }

  /** Notices sent while nobody listened are lost, so everything that is cached is looked up again. */
  #lost(client: pg.Client): void {
    if (this.#closed || this.#notices !== client) return
    this.#notices = undefined
    this.#options.onConnection?.('lost')
    const again = (): void => {
      if (this.#closed) return
      this.#listen().then(
        () => {
          for (const topic of ['documents', 'products']) this.#deliver(topic, '')
          this.#options.onConnection?.('found')
        },
        () => setTimeout(again, 1000).unref(),
      )
    }
    setTimeout(again, 200).unref()
  }

  #deliver(topic: string, text: string): void {
    for (const listener of this.#listeners) listener(topic, text)
  }
}

class PostgresRecords implements RecordReader {
  readonly #client: Pool | PoolClient

  constructor(client: Pool | PoolClient) {
    this.#client = client
  }

  async get(collection: string, key: string): Promise<StoredRecord | undefined> {
    const { rows } = await this.#client.query<Row>({
      name: 'kt-get',
      text: 'SELECT key, value, body FROM keyturn_records WHERE collection = $1 AND key = $2',
      values: [collection, key],
    })
    return rows[0] === undefined ? undefined : record(rows[0])
  }

  async getMany(collection: string, keys: readonly string[]): Promise<StoredRecord[]> {
    const { rows } = await this.#client.query<Row>({
      name: 'kt-many',
      text: 'SELECT key, value FROM keyturn_records WHERE collection = $1 AND key = ANY($2::text[])',
      values: [collection, keys],
    })
    return rows.map(record)
  }

  async list(collection: string, query: ListQuery = {}): Promise<StoredRecord[]> {
    const { prefix = '', after, limit = 1000, reverse = false, bodies = false } = query
    const low = reverse || after === undefined || after < prefix ? prefix : after
    const high = reverse && after !== undefined ? after : `${prefix}\u{10ffff}`
    const strict = low === after && !reverse ? '>' : '>='
    const { rows } = await this.#client.query<Row>(
      `SELECT key, value${bodies ? ', body' : ''} FROM keyturn_records WHERE collection = $1 AND key ${strict} $2 AND key < $3
       ORDER BY key ${reverse ? 'DESC' : 'ASC'} LIMIT $4`,
      [collection, low, high, limit],
    )
    return rows.map(record)
  }
}

class PostgresWriter extends PostgresRecords implements RecordWriter {
  readonly #own: PoolClient

  constructor(client: PoolClient) {
    super(client)
    this.#own = client
  }

  async put(collection: string, ...records: NewRecord[]): Promise<void> {
    if (records.length === 0) return
    const unique = [...new Map(records.map((item) => [item.key, item])).values()]
    await this.#own.query(
      `INSERT INTO keyturn_records (collection, key, value, body)
       SELECT $1, * FROM unnest($2::text[], $3::text[], $4::bytea[])
       ON CONFLICT (collection, key) DO UPDATE SET value = excluded.value, body = excluded.body`,
      [
        collection,
        unique.map(({ key }) => key),
        unique.map(({ value }) => JSON.stringify(value)),
        unique.map(({ body }) => (body === undefined ? null : Buffer.from(body))),
      ],
    )
  }

  async insert(collection: string, { key, value, body }: NewRecord): Promise<boolean> {
    const { rowCount } = await this.#own.query(
      'INSERT INTO keyturn_records (collection, key, value, body) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING',
      [collection, key, JSON.stringify(value), body === undefined ? null : Buffer.from(body)],
    )
    return rowCount === 1
  }

  async delete(collection: string, ...keys: string[]): Promise<void> {
    if (keys.length > 0)
      await this.#own.query('DELETE FROM keyturn_records WHERE collection = $1 AND key = ANY($2::text[])', [
        collection,
        keys,
      ])
  }

  async notify(topic: string, text: string): Promise<void> {
    await this.#own.query('SELECT pg_notify($1, $2)', [CHANNEL, `${topic} ${text}`])
  }
}

function record(row: Row): StoredRecord {
  return {
    key: row.key,
    value: JSON.parse(row.value) as JsonValue,
    body: row.body === undefined || row.body === null ? undefined : new Uint8Array(row.body),
  }
}

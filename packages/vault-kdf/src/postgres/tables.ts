import type { PgPool } from './client.ts'

/** Names of the tables of one vault. */
export interface Tables {
  readonly records: string
  readonly census: string
  readonly documents: string
  readonly state: string
  readonly audit: string
  /** The sequence of revisions. */
  readonly revisions: string
}

const PREFIX = /^[a-z_][a-z0-9_]{0,39}$/

/**
 * The names of the tables with a prefix.
 *
 * @throws RangeError for a prefix that would have to be quoted.
 */
export function tablesOf(prefix: string): Tables {
  if (!PREFIX.test(prefix))
    throw new RangeError(`The prefix of tables must be 1 to 40 of a-z, 0-9 and _, and begin with no digit: "${prefix}"`)
  const [records, census, documents, state, audit, revisions] = [
    'records',
    'census',
    'documents',
    'state',
    'audit',
    'revisions',
  ].map((name) => `${prefix}_${name}`) as [string, string, string, string, string, string]
  return { records, census, documents, state, audit, revisions }
}

/** Ids compare by their bytes (`COLLATE "C"`), as in every other store. */
function schema({ records, census, documents, state, audit, revisions }: Tables): string {
  return `
    CREATE TABLE IF NOT EXISTS ${records} (
      partition TEXT COLLATE "C" NOT NULL, cell TEXT COLLATE "C" NOT NULL, name TEXT COLLATE "C" NOT NULL,
      layer SMALLINT NOT NULL, format TEXT NOT NULL, key_version BIGINT NOT NULL, revision BIGINT NOT NULL,
      envelope BYTEA NOT NULL, sidecar BYTEA, expires_at BIGINT,
      PRIMARY KEY (partition, cell, name)
    );
    CREATE INDEX IF NOT EXISTS ${records}_by_version ON ${records} (format, key_version, partition, cell, name);
    CREATE TABLE IF NOT EXISTS ${census} (
      key_version BIGINT NOT NULL, layer SMALLINT NOT NULL, format TEXT NOT NULL, slot SMALLINT NOT NULL,
      count BIGINT NOT NULL, bytes BIGINT NOT NULL, PRIMARY KEY (key_version, layer, format, slot)
    );
    CREATE TABLE IF NOT EXISTS ${documents} (name TEXT PRIMARY KEY, bytes BYTEA NOT NULL, revision BIGINT NOT NULL);
    CREATE TABLE IF NOT EXISTS ${state} (
      id SMALLINT PRIMARY KEY CHECK (id = 1), epoch BIGINT NOT NULL, active_version BIGINT, format SMALLINT NOT NULL
    );
    INSERT INTO ${state} VALUES (1, 0, NULL, 1) ON CONFLICT DO NOTHING;
    CREATE SEQUENCE IF NOT EXISTS ${revisions};
    CREATE TABLE IF NOT EXISTS ${audit} (seq BIGINT PRIMARY KEY, record TEXT NOT NULL);
  `
}

/** Makes the tables that are missing. Processes that start at the same time take turns. */
export async function makeTables(pool: PgPool, tables: Tables): Promise<void> {
  const client = await pool.connect()
  try {
    await client.query('BEGIN')
    await client.query('SELECT pg_advisory_xact_lock(hashtextextended($1, 0))', [`keyturn vault ${tables.state}`])
    await client.query(schema(tables))
    await client.query('COMMIT')
    client.release()
  } catch (error) {
    // The connection may be in a transaction that failed: the pool gets another.
    client.release(true)
    throw error
  }
}

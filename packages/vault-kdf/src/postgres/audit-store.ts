import { utf8Encode } from '@keyturn/primitives'
import { parseAuditRecord, writeAuditRecord } from '../audit/record.ts'
import type { AuditRecord } from '../audit/record.ts'
import { seqTaken } from '../audit/store.ts'
import type { AuditStore } from '../audit/store.ts'
import { onDatabase } from './client.ts'
import type { PgPool } from './client.ts'
import type { PostgresStore } from './store.ts'

const PAGE = 1000

/** The audit chain in a table beside the records. Processes that share it take turns by the record's number. */
export class PostgresAuditStore implements AuditStore {
  readonly #pool: PgPool
  readonly #table: string

  /** @param store - Where the vault is. */
  constructor(store: PostgresStore) {
    this.#pool = store.place.pool
    this.#table = store.place.tables.audit
  }

  /** See {@link AuditStore.last}. */
  async last(): Promise<AuditRecord | undefined> {
    const [record] = await this.#page('ORDER BY seq DESC LIMIT 1', [])
    return record
  }

  /** See {@link AuditStore.append}. */
  async append(record: AuditRecord): Promise<void> {
    const sql = `INSERT INTO ${this.#table} VALUES ($1, $2) ON CONFLICT DO NOTHING`
    const { rowCount } = await onDatabase(() => this.#pool.query(sql, [record.seq, writeAuditRecord(record)]))
    if (rowCount === 0) throw seqTaken(record.seq)
  }

  /** See {@link AuditStore.records}. */
  async *records(): AsyncIterable<AuditRecord> {
    for (let last = -1; ;) {
      const page = await this.#page('WHERE seq > $1 ORDER BY seq LIMIT $2', [last, PAGE])
      yield* page
      last = page.at(-1)?.seq ?? last
      if (page.length < PAGE) return
    }
  }

  /** See {@link AuditStore.recordsBackward}. */
  async *recordsBackward(): AsyncIterable<AuditRecord> {
    for (let last = Number.MAX_SAFE_INTEGER; ;) {
      const page = await this.#page('WHERE seq < $1 ORDER BY seq DESC LIMIT $2', [last, PAGE])
      yield* page
      last = page.at(-1)?.seq ?? last
      if (page.length < PAGE) return
    }
  }

  async #page(rest: string, values: unknown[]): Promise<AuditRecord[]> {
    const { rows } = await onDatabase(() => this.#pool.query(`SELECT record FROM ${this.#table} ${rest}`, values))
    return rows.map((row) => parseAuditRecord(utf8Encode(String(row['record']))))
  }
}

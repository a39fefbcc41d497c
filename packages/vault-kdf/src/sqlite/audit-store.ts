import type { DatabaseSync } from 'node:sqlite'
import { utf8Encode } from '@keyturn/primitives'
import { parseAuditRecord, writeAuditRecord } from '../audit/record.ts'
import type { AuditRecord } from '../audit/record.ts'
import { seqTaken } from '../audit/store.ts'
import type { AuditStore } from '../audit/store.ts'
import { onDatabase } from './database-error.ts'

const pageSize = 1_000

/** The audit chain in a table of the same database. Processes that share it take turns by the record's number. */
export class SqliteAuditStore implements AuditStore {
  readonly #database: DatabaseSync

  /** @param database - Usually that of a {@link SqliteStore}. */
  constructor(database: DatabaseSync) {
    this.#database = database
    onDatabase(() =>
      database.exec('CREATE TABLE IF NOT EXISTS vault_audit (seq INTEGER PRIMARY KEY, record TEXT NOT NULL)'),
    )
  }

  /** See {@link AuditStore.last}. */
  async last(): Promise<AuditRecord | undefined> {
    return onDatabase(() => {
      const row = this.#database.prepare('SELECT record FROM vault_audit ORDER BY seq DESC LIMIT 1').get()
      return row === undefined ? undefined : parseAuditRecord(utf8Encode(String(row['record'])))
    })
  }

  /** See {@link AuditStore.append}. */
  async append(record: AuditRecord): Promise<void> {
    const { changes } = onDatabase(() =>
      this.#database
        .prepare('INSERT OR IGNORE INTO vault_audit VALUES (?, ?)')
        .run(record.seq, writeAuditRecord(record)),
    )
    if (Number(changes) === 0) throw seqTaken(record.seq)
  }

  /** See {@link AuditStore.records}. */
  records(): AsyncIterable<AuditRecord> {
    return this.#pages('SELECT seq, record FROM vault_audit WHERE seq > ? ORDER BY seq LIMIT ?', -1)
  }

  /** See {@link AuditStore.recordsBackward}. */
  recordsBackward(): AsyncIterable<AuditRecord> {
    const sql = 'SELECT seq, record FROM vault_audit WHERE seq < ? ORDER BY seq DESC LIMIT ?'
    return this.#pages(sql, Number.MAX_SAFE_INTEGER)
  }

  async *#pages(sql: string, start: number): AsyncIterable<AuditRecord> {
    for (let last = start; ;) {
      const rows = onDatabase(() => this.#database.prepare(sql).all(last, pageSize))
      for (const row of rows) {
        yield parseAuditRecord(utf8Encode(String(row['record'])))
        last = Number(row['seq'])
      }
      if (rows.length < pageSize) return
    }
  }
}

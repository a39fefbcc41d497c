import type { RecordId } from './place.ts'
import { RecordTable } from './record-table.ts'
import type { TableRow } from './record-table.ts'
import type {
  CensusRow,
  DocumentWrite,
  Fence,
  ScanQuery,
  StoreChange,
  StoreOutcome,
  StoredRecord,
  VaultStore,
} from './store.ts'

interface Body {
  readonly envelope: Uint8Array
  readonly sidecar?: Uint8Array
}

/** A store in memory: for tests and browsers, and as the reference for what a store does. */
export class MemoryStore implements VaultStore {
  readonly #table = new RecordTable<Body>()

  /** See {@link VaultStore.get}. */
  async get(id: RecordId): Promise<StoredRecord | undefined> {
    const row = this.#table.row(id)
    return row === undefined ? undefined : toRecord(row)
  }

  /** See {@link VaultStore.apply}. */
  async apply(changes: readonly StoreChange[], document?: DocumentWrite): Promise<readonly StoreOutcome[]> {
    const { outcomes, accepted } = this.#table.decide(changes, document)
    for (const change of accepted) {
      if ('remove' in change) {
        this.#table.remove(change.remove)
        continue
      }
      const { envelope, sidecar, ...columns } = change.put
      const body = {
        envelope: new Uint8Array(envelope),
        ...(sidecar === undefined ? {} : { sidecar: new Uint8Array(sidecar) }),
      }
      this.#table.put({ ...columns, revision: change.revision }, envelope.length, body)
    }
    if (document !== undefined) this.#table.putDocument(document.name, new Uint8Array(document.bytes), document.fence)
    return outcomes
  }

  /** See {@link VaultStore.scan}. */
  async scan(query: ScanQuery): Promise<readonly StoredRecord[]> {
    return this.#table.scan(query).map(toRecord)
  }

  /** See {@link VaultStore.census}. */
  async census(): Promise<readonly CensusRow[]> {
    return this.#table.census()
  }

  /** See {@link VaultStore.readDocument}. */
  async readDocument(name: string): Promise<{ bytes: Uint8Array; revision: number } | undefined> {
    return this.#table.document(name)
  }

  /** See {@link VaultStore.readFence}. */
  async readFence(): Promise<Fence | undefined> {
    return this.#table.fence
  }

  /** Nothing to close. */
  async close(): Promise<void> {}
}

function toRecord(row: TableRow<Body>): StoredRecord {
  return { ...row.record, ...row.body }
}

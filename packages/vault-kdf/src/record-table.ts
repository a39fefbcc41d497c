import { utf8 } from './length-prefixed.ts'
import type { RecordId } from './place.ts'
import { documentConflict, isStale, meetsExpectation } from './store.ts'
import type {
  CensusRow,
  DocumentWrite,
  Fence,
  ScanQuery,
  StoreChange,
  StoreOutcome,
  StoredRecord,
  VaultRecord,
} from './store.ts'

/** What the table keeps of a record besides its columns: the bytes themselves, or where they are on disk. */
export interface TableRow<Body> {
  readonly record: Omit<StoredRecord, 'envelope' | 'sidecar'>
  readonly size: number
  readonly body: Body
}

/** A change that the rules have let through. */
export type AcceptedChange =
  | { readonly key: string; readonly put: VaultRecord; readonly revision: number }
  | { readonly key: string; readonly remove: RecordId }

/**
 * The rules of a store over rows in memory: order, revisions, fence, census, documents. The memory store keeps the
 * bytes in it, the folder store their places on disk.
 */
export class RecordTable<Body> {
  readonly #rows = new Map<string, TableRow<Body>>()
  /** Keys in order; rebuilt lazily after many inserts. */
  #sorted: string[] = []
  readonly #census = new Map<string, CensusRow>()
  readonly #documents = new Map<string, { bytes: Uint8Array; revision: number }>()
  #fence: Fence | undefined
  #revision = 0

  /** The row of a record. */
  row(id: RecordId): TableRow<Body> | undefined {
    return this.#rows.get(recordKey(id))
  }

  /** Every row; for compaction. */
  rows(): IterableIterator<TableRow<Body>> {
    return this.#rows.values()
  }

  /** The highest revision given so far. */
  get revision(): number {
    return this.#revision
  }

  /** Makes sure that no revision up to this one is given again. */
  raiseRevision(revision: number): void {
    this.#revision = Math.max(this.#revision, revision)
  }

  /** The fence as last written. */
  get fence(): Fence | undefined {
    return this.#fence
  }

  /** Every document; for compaction. */
  documents(): IterableIterator<[string, { bytes: Uint8Array; revision: number }]> {
    return this.#documents.entries()
  }

  /** A document. */
  document(name: string): { bytes: Uint8Array; revision: number } | undefined {
    return this.#documents.get(name)
  }

  /**
   * Checks a batch against the state it would run on, without changing anything.
   *
   * @throws VaultError `VK_CONFLICT`.
   */
  decide(
    changes: readonly StoreChange[],
    document: DocumentWrite | undefined,
  ): { outcomes: StoreOutcome[]; accepted: AcceptedChange[] } {
    if (document !== undefined && !meetsExpectation(document.expected, this.#documents.get(document.name)?.revision))
      throw documentConflict(document.name)
    const fence = document?.fence ?? this.#fence
    const accepted: AcceptedChange[] = []
    const pending = new Map<string, number | undefined>()
    let revision = this.#revision
    const outcomes = changes.map((change): StoreOutcome => {
      const id = 'put' in change ? change.put : change.remove
      const key = recordKey(id)
      const found = pending.has(key) ? pending.get(key) : this.#rows.get(key)?.record.revision
      if ('remove' in change) {
        if (found === undefined || !meetsExpectation(change.expected, found)) return 'conflict'
        accepted.push({ key, remove: id })
        pending.set(key, undefined)
        return 'done'
      }
      if (isStale(change.put, fence)) return 'stale'
      if (!meetsExpectation(change.put.format === 'v0' ? 'absent' : change.expected, found)) return 'conflict'
      revision += 1
      accepted.push({ key, put: change.put, revision })
      pending.set(key, revision)
      return 'done'
    })
    return { outcomes, accepted }
  }

  /** Takes a checked put in. */
  put(record: Omit<StoredRecord, 'envelope' | 'sidecar'>, size: number, body: Body): void {
    const key = recordKey(record)
    const old = this.#rows.get(key)
    if (old !== undefined) this.#count(old, -1)
    else this.#insert(key)
    const row = { record, size, body }
    this.#rows.set(key, row)
    this.#count(row, 1)
    this.#revision = Math.max(this.#revision, record.revision)
  }

  /** Takes a checked removal in; gives back what was there. */
  remove(id: RecordId): TableRow<Body> | undefined {
    const key = recordKey(id)
    const old = this.#rows.get(key)
    if (old === undefined) return undefined
    this.#count(old, -1)
    this.#rows.delete(key)
    this.#sorted.splice(this.#lowerBound(key), 1)
    return old
  }

  /** Takes a checked document in. */
  putDocument(name: string, bytes: Uint8Array, fence: Fence | undefined): void {
    this.#documents.set(name, { bytes, revision: (this.#documents.get(name)?.revision ?? 0) + 1 })
    if (fence !== undefined) this.#fence = fence
  }

  /** Restores a document with its revision; for loading. */
  loadDocument(name: string, bytes: Uint8Array, revision: number, fence: Fence | undefined): void {
    this.#documents.set(name, { bytes, revision })
    if (fence !== undefined) this.#fence = fence
  }

  /** A page of rows; see {@link VaultStore.scan}. */
  scan(query: ScanQuery): TableRow<Body>[] {
    const page: TableRow<Body>[] = []
    const start = query.after === undefined ? 0 : this.#lowerBound(`${recordKey(query.after)}\0`)
    for (let index = start; index < this.#sorted.length && page.length < query.limit; index++) {
      const row = this.#rows.get(this.#sorted[index] ?? '')
      if (row !== undefined && matches(row.record, query)) page.push(row)
    }
    return page
  }

  /** The counts. */
  census(): CensusRow[] {
    return [...this.#census.values()].filter((row) => row.count > 0)
  }

  #count(row: TableRow<Body>, sign: 1 | -1): void {
    const { keyVersion, layer, format } = row.record
    const key = `${keyVersion}/${layer}/${format}`
    const old = this.#census.get(key) ?? { keyVersion, layer, format, count: 0, bytes: 0 }
    this.#census.set(key, { ...old, count: old.count + sign, bytes: old.bytes + sign * row.size })
  }

  #insert(key: string): void {
    const last = this.#sorted.at(-1)
    if (last === undefined || last < key) this.#sorted.push(key)
    else this.#sorted.splice(this.#lowerBound(key), 0, key)
  }

  #lowerBound(key: string): number {
    let low = 0
    let high = this.#sorted.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#sorted[middle] ?? '') < key) low = middle + 1
      else high = middle
    }
    return low
  }
}

function matches(record: Omit<VaultRecord, 'envelope' | 'sidecar'>, query: ScanQuery): boolean {
  return (
    (query.partition === undefined || record.partition === query.partition) &&
    (query.cell === undefined || record.cell === query.cell) &&
    (query.keyVersion === undefined || (record.keyVersion === query.keyVersion && record.format === 'v1')) &&
    (query.format === undefined || record.format === query.format)
  )
}

/**
 * A string whose order is that of {@link compareRecordIds}: the UTF-8 bytes as one character each, parts ended by NUL,
 * which no id contains.
 */
export function recordKey(id: RecordId): string {
  return `${byteString(id.partition)}\0${byteString(id.cell)}\0${byteString(id.name)}`
}

function byteString(text: string): string {
  if (/^[\x01-\x7f]*$/.test(text)) return text
  return Array.from(utf8(text), (byte) => String.fromCharCode(byte)).join('')
}

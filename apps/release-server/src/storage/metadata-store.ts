import type { JsonValue } from '@keyturn/primitives'

/** One record: a small JSON value and, where a collection keeps bytes, a body. */
export interface StoredRecord {
  readonly key: string
  readonly value: JsonValue
  readonly body: Uint8Array | undefined
}

/** Which records of a collection to list. Keys compare by their UTF-8 bytes. */
export interface ListQuery {
  readonly prefix?: string | undefined
  /** Only keys above this one (below, when `reverse`). */
  readonly after?: string | undefined
  /** Default 1000. */
  readonly limit?: number | undefined
  readonly reverse?: boolean | undefined
  /** Whether bodies are wanted too; default false. */
  readonly bodies?: boolean | undefined
}

/** Reads records. */
export interface RecordReader {
  get(collection: string, key: string): Promise<StoredRecord | undefined>
  /** Those of these records that exist, in no order, without bodies. */
  getMany(collection: string, keys: readonly string[]): Promise<StoredRecord[]>
  list(collection: string, query?: ListQuery): Promise<StoredRecord[]>
}

/** A record to be written. */
export interface NewRecord {
  readonly key: string
  readonly value: JsonValue
  readonly body?: Uint8Array | undefined
}

/** Reads and writes inside one transaction. */
export interface RecordWriter extends RecordReader {
  put(collection: string, ...records: NewRecord[]): Promise<void>
  /** Writes only where no record exists; returns whether it did. */
  insert(collection: string, record: NewRecord): Promise<boolean>
  delete(collection: string, ...keys: string[]): Promise<void>
  /** Sent to every subscriber of every replica once the transaction is committed. */
  notify(topic: string, text: string): Promise<void>
}

/** Receives what {@link RecordWriter.notify} sends. */
export type NotificationListener = (topic: string, text: string) => void

/**
 * Records in collections, with transactions: either everything a transaction wrote is stored, durably, or nothing.
 * Transactions that name a common lock run one after the other, across all replicas.
 */
export interface MetadataStore extends RecordReader {
  readonly kind: string
  transaction<T>(locks: readonly string[], work: (records: RecordWriter) => Promise<T>): Promise<T>
  /** Calls `listener` for notifications of any replica, this one included; returns a function that ends it. */
  subscribe(listener: NotificationListener): () => void
  /** Names of all collections that hold records. */
  collections(): Promise<string[]>
  ping(): Promise<void>
  close(): Promise<void>
}

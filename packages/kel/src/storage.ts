import type { EventType } from './event.ts'

/** Where an event came from. */
export type EventSource = 'local' | 'remote'

/** One accepted event, or a receipt that came later, on its way into a store. */
export interface LogRecord {
  readonly said: string
  readonly sn: number
  readonly type: EventType | 'rct'
  /** Body and attachments. */
  readonly message: Uint8Array
  /** First-seen number: 0 for the inception, then one more for each accepted event. */
  readonly firstSeen: number
  /** When it was seen, ms since the epoch. */
  readonly seenAtMs: number
  readonly source: EventSource
}

/** Two rightly signed events for one place. */
export interface DuplicityRecord {
  /** The event that came second. */
  readonly said: string
  readonly message: Uint8Array
  /** The event that is held. */
  readonly against: string
  readonly againstMessage: Uint8Array
}

/** What a store holds of one identity. */
export interface StoredLog {
  /** Accepted events in first-seen order and receipts, as a plain CESR stream. */
  readonly stream: Uint8Array
  /** Opaque mark of this very content, for compare-and-swap. */
  readonly version: string
}

/**
 * The log of one identity at rest. It knows bytes and order only: what may be written is decided before.
 */
export interface LogStorage {
  /** What is there; undefined when there is nothing yet. */
  read(): Promise<StoredLog | undefined>
  /**
   * Appends one record, durably, if the content is still the one that `expected` marks.
   *
   * @param record - What to append.
   * @param expected - Version that was validated against; undefined for an empty log.
   * @returns The new version.
   * @throws {@link KelError} `KEL_CONFLICT` when another writer was first, `KEL_LOCK`, `KEL_IO`.
   */
  append(record: LogRecord, expected: string | undefined): Promise<string>
  /** Keeps the proof of duplicity. */
  keepDuplicity(record: DuplicityRecord): Promise<void>
  /** Proofs kept so far: each a stream of the two events. */
  duplicities(): Promise<readonly Uint8Array[]>
}

/** Logs of any number of identities. */
export interface KelStore {
  /** Prefixes of the identities that have a log here. */
  list(): Promise<readonly string[]>
  /** The log of one identity, which may be empty. */
  log(prefix: string): LogStorage
}

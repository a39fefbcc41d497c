import { VaultError } from '../errors.ts'
import type { Checkpoint } from './checkpoint.ts'
import type { AuditRecord } from './record.ts'

/** Where the chain itself lies. */
export interface AuditStore {
  /** The last record, or `undefined` for an empty chain. */
  last(): Promise<AuditRecord | undefined>
  /**
   * Adds a record, durably.
   *
   * @throws VaultError `VK_CONFLICT` when its number is taken: another process was faster.
   */
  append(record: AuditRecord): Promise<void>
  /** All records in order. */
  records(): AsyncIterable<AuditRecord>
  /** All records, the newest first; without it the chain is read from its beginning. */
  recordsBackward?(): AsyncIterable<AuditRecord>
}

/** Who gets the records besides: a log elsewhere, a message queue. */
export interface AuditSink {
  /** A `required` sink that fails stops a key event; a `best_effort` one does not. */
  readonly delivery: 'required' | 'best_effort'
  append(record: AuditRecord): Promise<void>
  checkpoint?(checkpoint: Checkpoint): Promise<void>
}

/** A chain in memory. */
export class MemoryAuditStore implements AuditStore {
  readonly #records: AuditRecord[] = []

  /** See {@link AuditStore.last}. */
  async last(): Promise<AuditRecord | undefined> {
    return this.#records.at(-1)
  }

  /** See {@link AuditStore.append}. */
  async append(record: AuditRecord): Promise<void> {
    if (record.seq !== this.#records.length + 1) throw seqTaken(record.seq)
    this.#records.push(record)
  }

  /** See {@link AuditStore.records}. */
  async *records(): AsyncIterable<AuditRecord> {
    yield* this.#records
  }

  /** See {@link AuditStore.recordsBackward}. */
  async *recordsBackward(): AsyncIterable<AuditRecord> {
    yield* this.#records.toReversed()
  }
}

/** The refusal of a record whose number is taken. */
export function seqTaken(seq: number): VaultError {
  return new VaultError('VK_CONFLICT', `Audit record ${seq} was written by somebody else`, { details: { seq } })
}

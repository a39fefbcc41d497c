import type { TableRow } from '../record-table.ts'
import type { DocumentWrite, StoreChange, StoreOutcome } from '../store.ts'

/** Rows that are written as one frame when a segment is rewritten. */
export const ROWS_PER_FRAME = 64
/** Envelopes that one frame holds; a single batch may be longer. */
const MAX_GROUP_BYTES = 32 * 1024 * 1024
/** About what a record takes besides its envelope. */
const ROW_OVERHEAD_BYTES = 64

/** Where the envelope of a record is in the segment; a sidecar is small and stays in memory. */
export interface Body {
  readonly offset: number
  /** The bytes themselves until they are durable. */
  readonly pending?: Uint8Array
  readonly sidecar?: Uint8Array
}

/** A batch that waits to be written. */
export interface Waiting {
  readonly changes: readonly StoreChange[]
  readonly document: DocumentWrite | undefined
  readonly done: (outcomes: readonly StoreOutcome[]) => void
  readonly failed: (error: unknown) => void
}

/** About how many bytes of a segment a record takes. */
export function rowBytes(row: TableRow<Body>): number {
  const { partition, cell, name } = row.record
  return row.size + ROW_OVERHEAD_BYTES + partition.length + cell.length + name.length + (row.body.sidecar?.length ?? 0)
}

/** Takes the batches that go into the next frame: at least one. */
export function takeGroup(waiting: Waiting[]): Waiting[] {
  let bytes = 0
  let count = 0
  for (const { changes } of waiting) {
    bytes += changes.reduce((sum, change) => sum + ('put' in change ? change.put.envelope.length : 0), 0)
    if (count > 0 && bytes > MAX_GROUP_BYTES) break
    count += 1
  }
  return waiting.splice(0, count)
}

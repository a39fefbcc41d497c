import type { TableForm } from '../entries.ts'
import type { StopFlag } from './share.ts'
import type { SharedSecrets } from './shared.ts'
import type { SharedTableMemory } from './shared-table.ts'

/** A packing job, shared by all worker threads. */
export interface BuildJob {
  readonly kind: 'build'
  readonly root: string
  /** Relative paths in archive order. */
  readonly paths: readonly string[]
  /** UTF-8 of the paths as they are stored, one after the other; checked already. */
  readonly pathBytes: Uint8Array<SharedArrayBuffer>
  /** Where each of them starts, and where the last one ends. */
  readonly pathStarts: Float64Array<SharedArrayBuffer>
  /** The plan and the results: see `SharedTable`. */
  readonly table: SharedTableMemory
  /** The archive being written. */
  readonly descriptor: number
  readonly level: number
  readonly align: number
  readonly slots: SharedSecrets
  /** The slot that new files go under. */
  readonly newest: number
  readonly previous: PreviousPayloads | undefined
  /** How many threads share the job. */
  readonly threads: number
  readonly stop: StopFlag
  readonly progress: BigInt64Array<SharedArrayBuffer>
}

/** The archive that slots and stored bytes are carried over from. */
export interface PreviousPayloads {
  /** Open file, or -1 when only slots are carried over. */
  readonly descriptor: number
  readonly manifest: Uint8Array<SharedArrayBuffer>
  /** Where in the manifest the entry of each file to pack starts, or -1. */
  readonly starts: Float64Array<SharedArrayBuffer>
  /** Where its payload starts. */
  readonly offsets: Float64Array<SharedArrayBuffer>
  readonly form: TableForm
  /**
   * Set to 1 by the thread that finds a segment of a large file damaged when others of that file may have been carried
   * over already: then everything is packed again, with `checksWhole`.
   */
  readonly damaged: Int32Array<SharedArrayBuffer>
  /** Whether a large file is looked at whole before its first segment is carried over. */
  readonly checksWhole: boolean
}

import type { StopFlag } from './share.ts'
import type { SharedSecrets } from './shared.ts'

/** Fixed-size results of each file, in memory that all threads see. */
export interface FileTable {
  readonly offsets: Float64Array<SharedArrayBuffer>
  readonly slots: Float64Array<SharedArrayBuffer>
  /** {@link FORM} of each file; 0 until decided. */
  readonly forms: Int32Array<SharedArrayBuffer>
  readonly digests: Uint8Array<SharedArrayBuffer>
  /** Stored size and nonce of every segment, file after file. */
  readonly segments: Uint8Array<SharedArrayBuffer>
  /** CRC-32 of every segment as it was hashed, to notice a file that changes before it is read again. */
  readonly checks: Uint32Array<SharedArrayBuffer>
  /** 1 once a file of several segments is hashed. */
  readonly hashed: Int32Array<SharedArrayBuffer>
}

/** How a file ended up. */
export const FORM = { undecided: 0, plain: 1, compressed: 2, carriedPlain: 3, carriedCompressed: 4 } as const

/** Packs files, on every thread that is told. */
export interface BuildJob {
  readonly kind: 'build'
  readonly root: string
  /** Relative paths in archive order. */
  readonly paths: readonly string[]
  /** UTF-8 of the paths as they are stored, one behind the other; judged already. */
  readonly pathBytes: Uint8Array<SharedArrayBuffer>
  /** Where each of them starts, and where the last one ends. */
  readonly pathStarts: Float64Array<SharedArrayBuffer>
  readonly sizes: Float64Array<SharedArrayBuffer>
  /** Index of each file's first segment among all. */
  readonly firstSegments: Float64Array<SharedArrayBuffer>
  /** Files of several segments, largest first. */
  readonly large: Float64Array<SharedArrayBuffer>
  /** First file, one behind the last, and the segment of a large one or -1, of each unit of work, in archive order. */
  readonly units: Float64Array<SharedArrayBuffer>
  /** The next large file to be hashed, and the next unit. */
  readonly next: Int32Array<SharedArrayBuffer>
  /** Where each unit's payload ends, 0 until known. */
  readonly ends: BigInt64Array<SharedArrayBuffer>
  readonly table: FileTable
  /** The archive being written. */
  readonly descriptor: number
  readonly level: number
  readonly segmentSize: number
  readonly align: number
  readonly slots: SharedSecrets
  readonly newest: number
  readonly previous: PreviousPayloads | undefined
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
  readonly segmentSize: number
  /**
   * Set to 1 by the thread that finds a segment of a large file damaged when others of that file may have been carried over
   * already: then everything is packed again, with `checksWhole`.
   */
  readonly damaged: Int32Array<SharedArrayBuffer>
  /** Whether a large file is looked at whole before its first segment is carried over. */
  readonly checksWhole: boolean
}

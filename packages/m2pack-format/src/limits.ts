/** What a reader accepts before it refuses with `M2P_LIMIT`; each can be raised by option. */
export interface ArchiveLimits {
  /** Bytes of the manifest; default 64 MiB, some 500,000 entries. */
  readonly manifestBytes: number
  /** Files in one archive; default 1,000,000. */
  readonly entryCount: number
  /** Bytes of one file; default 64 GiB. */
  readonly fileBytes: number
}

/** The limits of docs/spec/m2pack.md §5. */
export const defaultLimits: ArchiveLimits = Object.freeze({
  manifestBytes: 64 * 1024 * 1024,
  entryCount: 1_000_000,
  fileBytes: 64 * 1024 ** 3,
})

/** Bytes of the header. */
export const HEADER_BYTES = 128
/** Bytes of the manifest's fixed first part. */
export const PREAMBLE_BYTES = 64
/** Bytes of one wrapped slot. */
export const SLOT_BYTES = 76
/** Slots that one archive may carry. */
export const MAX_SLOTS = 1024
/** Bytes of a Poly1305 tag. */
export const TAG_BYTES = 16
/** Bytes of an XChaCha20 nonce. */
export const NONCE_BYTES = 24
/** Smallest segment. */
export const MIN_SEGMENT_BYTES = 64 * 1024
/** Largest segment. */
export const MAX_SEGMENT_BYTES = 16 * 1024 * 1024
/** Largest `segment_size` of version 2, whose segments are up to four times as long. */
export const MAX_AVERAGE_BYTES = 4 * 1024 * 1024
/** The last millisecond of the year 9999: the latest time of modification. */
export const MAX_MTIME_MS = 253_402_300_799_999
/** Default segment size of a writer. */
export const DEFAULT_SEGMENT_BYTES = 1024 * 1024
/** Largest alignment of payloads. */
export const MAX_ALIGN = 1024 * 1024
/** Bytes of a path. */
export const MAX_PATH_BYTES = 1024
/** Parts of a path. */
export const MAX_PATH_PARTS = 32
/** Largest window of a zstd frame. */
export const MAX_WINDOW_BYTES = 8 * 1024 * 1024
/** Highest key_id and slot number. */
export const MAX_U32 = 0xffff_ffff
/** Default zstd level of a writer. */
export const DEFAULT_LEVEL = 12

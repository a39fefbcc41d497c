import { NONCE_BYTES } from './limits.ts'

/** How the segments of a file are stored. */
export type Compression = 'none' | 'zstd'

/** One file as writers hand it over. */
export interface EntryRecord {
  /** UTF-8 of the path. */
  readonly pathBytes: Uint8Array
  /** Where its first segment starts. */
  readonly offset: number
  /** Bytes of plaintext. */
  readonly size: number
  /** Under which slot it is encrypted. */
  readonly slot: number
  /** How it is stored. */
  readonly compression: Compression
  /** SHA-256 of the plaintext. */
  readonly sha256: Uint8Array
  /** For each segment its stored size (u32, little-endian) and its nonce (24). */
  readonly segments: Uint8Array
}

/** One file of an archive. Byte arrays in it are views of the manifest: do not modify them. */
export interface ArchiveEntry extends EntryRecord {
  /** The path as stored. */
  readonly path: string
  /** Bytes of all segments as stored, tags included. */
  readonly storedSize: number
  /** How many segments there are. */
  readonly segmentCount: number
}

/** One segment as the manifest describes it. */
export interface SegmentRecord {
  /** Bytes as stored, tag included. */
  readonly storedSize: number
  /** 24 bytes. */
  readonly nonce: Uint8Array
}

/** Bytes that one segment takes in an entry. */
export const SEGMENT_RECORD_BYTES = 4 + NONCE_BYTES
/** Bytes of an entry beside path and segments. */
export const ENTRY_FIXED_BYTES = 58

/** How many segments a file of `size` bytes has. */
export function segmentCountOf(size: number, segmentSize: number): number {
  return Math.max(1, Math.ceil(size / segmentSize))
}

/** Plaintext bytes of segment `index`. */
export function segmentBytes(size: number, segmentSize: number, index: number): number {
  return Math.min(segmentSize, size - index * segmentSize)
}

/** Most bytes that `plain` bytes may be stored as when compressed. */
export function maxStoredSize(plain: number): number {
  return plain + Math.floor(plain / 256) + 80
}

/** Reads segment `index` of an entry. */
export function segmentAt(entry: EntryRecord, index: number): SegmentRecord {
  const { segments } = entry
  const at = index * SEGMENT_RECORD_BYTES
  const storedSize = readU32(segments, at)
  return { storedSize, nonce: segments.subarray(at + 4, at + SEGMENT_RECORD_BYTES) }
}

function readU32(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at] as number) +
    (bytes[at + 1] as number) * 0x100 +
    (bytes[at + 2] as number) * 0x10000 +
    (bytes[at + 3] as number) * 0x1000000
  )
}

/** Reads the entry at `start` of a manifest that was checked before. */
export function readEntry(manifest: Uint8Array, start: number, segmentSize: number): EntryRecord {
  const pathLength = (manifest[start] as number) + (manifest[start + 1] as number) * 0x100
  const at = start + 2 + pathLength
  const offset = readU32(manifest, at) + readU32(manifest, at + 4) * 0x1_0000_0000
  const size = readU32(manifest, at + 8) + readU32(manifest, at + 12) * 0x1_0000_0000
  const count = segmentCountOf(size, segmentSize)
  return {
    pathBytes: manifest.subarray(start + 2, at),
    offset,
    size,
    slot: readU32(manifest, at + 16),
    compression: manifest[at + 20] === 1 ? 'zstd' : 'none',
    sha256: manifest.subarray(at + 24, at + 56),
    segments: manifest.subarray(at + 56, at + 56 + count * SEGMENT_RECORD_BYTES),
  }
}

/** What of an entry is read at once. */
export type EntryNumbers = Pick<
  ArchiveEntry,
  'offset' | 'size' | 'storedSize' | 'slot' | 'compression' | 'segmentCount'
>

/** An entry that reads its byte fields from the manifest only when asked: archives have many and callers want few. */
export class ParsedEntry implements ArchiveEntry {
  path = ''
  /** Whether the path is its own fold. */
  isFolded = false
  readonly offset: number
  readonly size: number
  readonly storedSize: number
  readonly slot: number
  readonly compression: Compression
  readonly segmentCount: number
  readonly #manifest: Uint8Array
  readonly #start: number

  constructor(manifest: Uint8Array, start: number, numbers: EntryNumbers) {
    this.offset = numbers.offset
    this.size = numbers.size
    this.storedSize = numbers.storedSize
    this.slot = numbers.slot
    this.compression = numbers.compression
    this.segmentCount = numbers.segmentCount
    this.#manifest = manifest
    this.#start = start
  }

  /** Where in the manifest the entry starts. */
  get manifestStart(): number {
    return this.#start
  }

  get #pathLength(): number {
    return (this.#manifest[this.#start] as number) + (this.#manifest[this.#start + 1] as number) * 0x100
  }

  get pathBytes(): Uint8Array {
    return this.#manifest.subarray(this.#start + 2, this.#start + 2 + this.#pathLength)
  }

  get sha256(): Uint8Array {
    const at = this.#start + 26 + this.#pathLength
    return this.#manifest.subarray(at, at + 32)
  }

  get segments(): Uint8Array {
    const at = this.#start + ENTRY_FIXED_BYTES + this.#pathLength
    return this.#manifest.subarray(at, at + this.segmentCount * SEGMENT_RECORD_BYTES)
  }
}

/** Where in its manifest an entry that was parsed starts. */
export function manifestStart(entry: ArchiveEntry): number {
  if (!(entry instanceof ParsedEntry)) throw new TypeError('The entry is not of an open archive')
  return entry.manifestStart
}

/** The files of an archive in order of their path bytes. */
export class EntryTable {
  readonly entries: readonly ArchiveEntry[]
  #byPath: Map<string, ArchiveEntry> | undefined

  constructor(entries: readonly ArchiveEntry[]) {
    this.entries = entries
  }

  /** Finds a file by its exact path. */
  get(path: string): ArchiveEntry | undefined {
    this.#byPath ??= new Map(this.entries.map((entry) => [entry.path, entry]))
    return this.#byPath.get(path)
  }
}

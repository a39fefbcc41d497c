import { requireMembers } from '@keyturn/primitives'
import { NONCE_BYTES } from './limits.ts'
import type { FormatVersion } from './version.ts'

/** How the segments of a file are stored. */
export type Compression = 'none' | 'zstd'

/** One file as writers hand it over. */
export interface EntryRecord {
  /** Version of the format that `segments` is of; default 1. */
  readonly version?: FormatVersion | undefined
  /** UTF-8 of the path. */
  readonly pathBytes: Uint8Array
  /** Where its first segment starts. */
  readonly offset: number
  /** Bytes of plaintext. */
  readonly size: number
  /** Under which slot it is encrypted. */
  readonly slot: number
  /** How it is stored; in version 2 `zstd` when at least one of its segments is compressed. */
  readonly compression: Compression
  /** SHA-256 of the plaintext. */
  readonly sha256: Uint8Array
  /** For each segment its stored size (u32, little-endian) and nonce (24); in version 2 its size comes first (u32). */
  readonly segments: Uint8Array
  /** Whether its owner may execute it; version 2 only, default `false`. */
  readonly executable?: boolean | undefined
  /** Milliseconds since 1970; version 2 only, and there only in archives with times. */
  readonly mtimeMs?: number | undefined
}

/** One file of an archive. Byte arrays in it are views of the manifest: do not modify them. */
export interface ArchiveEntry extends EntryRecord {
  /** The path as stored. */
  readonly path: string
  /** Bytes of all segments as stored, tags included. */
  readonly storedSize: number
  /** How many segments there are. */
  readonly segmentCount: number
  /** Whether its owner may execute it; `false` in version 1, which does not say. */
  readonly executable: boolean
}

/** One segment as the manifest describes it. */
export interface SegmentRecord {
  /** Bytes as stored, tag included. */
  readonly storedSize: number
  /** 24 bytes. */
  readonly nonce: Uint8Array
}

/** What an opened segment must become. */
export interface PlainForm {
  /** Whether the segment is a zstd frame. */
  readonly compression: Compression
  /** Expected bytes of plaintext. */
  readonly size: number
}

/** What decides how the entries of a manifest are laid out. */
export interface TableForm {
  readonly version: FormatVersion
  /** Bytes of plaintext in every segment but the last of a file; in version 2 the average. */
  readonly segmentSize: number
  /** Whether each entry has a time of modification. */
  readonly mtimes: boolean
}

/** Bytes that one segment takes in an entry of version 1. */
export const SEGMENT_RECORD_BYTES = 4 + NONCE_BYTES
/** Bytes that one segment takes in an entry of version 2. */
const SEGMENT_RECORD_BYTES_2 = 8 + NONCE_BYTES
/** Bytes of an entry beside path and segments. */
export const ENTRY_FIXED_BYTES = 58
/** The same in version 2, times aside. */
export const ENTRY_FIXED_BYTES_2 = 54
/** Bytes of a time of modification. */
export const MTIME_BYTES = 8

/** Bytes that one segment takes in an entry. */
export function recordBytesOf(version: FormatVersion | undefined): number {
  return version === 2 ? SEGMENT_RECORD_BYTES_2 : SEGMENT_RECORD_BYTES
}

/** How many segments a file of `size` bytes has in version 1. */
export function segmentCountOf(size: number, segmentSize: number): number {
  return Math.max(1, Math.ceil(size / segmentSize))
}

/** Plaintext bytes of segment `index` in version 1. */
export function segmentBytes(size: number, segmentSize: number, index: number): number {
  return Math.min(segmentSize, size - index * segmentSize)
}

/** Most bytes that `plain` bytes may be stored as when compressed. */
export function maxStoredSize(plain: number): number {
  return plain + Math.floor(plain / 256) + 80
}

/** How many segments an entry has. */
export function segmentTotal({ segments, version }: EntryRecord): number {
  return segments.length / recordBytesOf(version)
}

/** Reads segment `index` of an entry. */
export function segmentAt({ segments, version }: EntryRecord, index: number): SegmentRecord {
  const at = version === 2 ? index * SEGMENT_RECORD_BYTES_2 + 4 : index * SEGMENT_RECORD_BYTES
  return { storedSize: readU32(segments, at), nonce: segments.subarray(at + 4, at + 4 + NONCE_BYTES) }
}

/** Where in the archive each segment of a file starts. */
export function segmentOffsets(entry: EntryRecord): number[] {
  requireMembers(entry, 'entry', ['offset', 'segments'])
  let { offset } = entry
  return Array.from({ length: segmentTotal(entry) }, (_, index) => {
    const start = offset
    offset += segmentAt(entry, index).storedSize
    return start
  })
}

/** What segment `index` of an entry must become. */
export function plainFormAt(entry: EntryRecord, segmentSize: number, index: number): PlainForm {
  if (entry.version !== 2) return { compression: entry.compression, size: segmentBytes(entry.size, segmentSize, index) }
  const at = index * SEGMENT_RECORD_BYTES_2
  const size = readU32(entry.segments, at)
  return { compression: readU32(entry.segments, at + 4) - size < 16 ? 'zstd' : 'none', size }
}

/** Segments that hold a range of a file. */
export interface SegmentSpan {
  readonly first: number
  /** One more than the last. */
  readonly behind: number
  /** Where in the file the first one starts. */
  readonly at: number
}

/** Which segments hold the bytes from `start` to `end` of a file; at least one. */
export function spanOf(
  entry: ArchiveEntry,
  segmentSize: number,
  { start, end }: { readonly start: number; readonly end: number },
): SegmentSpan {
  if (entry.version !== 2) {
    const first = Math.floor(start / segmentSize)
    return { first, behind: Math.max(first + 1, Math.ceil(end / segmentSize)), at: first * segmentSize }
  }
  const last = entry.segmentCount - 1
  let [index, at] = [0, 0]
  const sizeAt = (segment: number): number => plainFormAt(entry, segmentSize, segment).size
  for (; index < last && at + sizeAt(index) <= start; index++) at += sizeAt(index)
  let behind = index + 1
  for (let reached = at + sizeAt(index); behind <= last && reached < end; behind++) reached += sizeAt(behind)
  return { first: index, behind, at }
}

function readU32(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at] as number) +
    (bytes[at + 1] as number) * 0x100 +
    (bytes[at + 2] as number) * 0x10000 +
    (bytes[at + 3] as number) * 0x1000000
  )
}

function readU64(bytes: Uint8Array, at: number): number {
  return readU32(bytes, at) + readU32(bytes, at + 4) * 0x1_0000_0000
}

/** Where an entry is in its manifest, and its payload in the archive. */
export interface EntryPlace {
  readonly start: number
  readonly offset: number
}

/** Reads an entry of a manifest that was checked before. */
export function readEntry(manifest: Uint8Array, { start, offset }: EntryPlace, form: TableForm): EntryRecord {
  const pathLength = (manifest[start] as number) + (manifest[start + 1] as number) * 0x100
  const at = start + 2 + pathLength
  const pathBytes = manifest.subarray(start + 2, at)
  if (form.version === 2) return { pathBytes, offset, ...readFields2(manifest, at, form) }
  const size = readU64(manifest, at + 8)
  const count = segmentCountOf(size, form.segmentSize)
  return {
    version: 1,
    pathBytes,
    offset,
    size,
    slot: readU32(manifest, at + 16),
    compression: manifest[at + 20] === 1 ? 'zstd' : 'none',
    sha256: manifest.subarray(at + 24, at + 56),
    segments: manifest.subarray(at + 56, at + 56 + count * SEGMENT_RECORD_BYTES),
  }
}

function readFields2(
  manifest: Uint8Array,
  at: number,
  { mtimes }: TableForm,
): Omit<EntryRecord, 'pathBytes' | 'offset'> {
  const segmentsAt = at + 52 + (mtimes ? MTIME_BYTES : 0)
  return {
    version: 2,
    size: readU64(manifest, at),
    slot: readU32(manifest, at + 8),
    compression: manifest[at + 12] === 1 ? 'zstd' : 'none',
    executable: manifest[at + 13] === 1,
    sha256: manifest.subarray(at + 16, at + 48),
    mtimeMs: mtimes ? readU64(manifest, at + 52) : undefined,
    segments: manifest.subarray(segmentsAt, segmentsAt + readU32(manifest, at + 48) * SEGMENT_RECORD_BYTES_2),
  }
}

/** What of an entry is read at once. */
export type EntryNumbers = Pick<
  ArchiveEntry,
  'offset' | 'size' | 'storedSize' | 'slot' | 'compression' | 'segmentCount' | 'executable' | 'mtimeMs'
> & { readonly version: FormatVersion }

/** An entry that reads its byte fields from the manifest only when asked: archives have many and callers want few. */
export class ParsedEntry implements ArchiveEntry {
  path = ''
  /** Whether the path is its own fold. */
  isFolded = false
  readonly version: FormatVersion
  readonly offset: number
  readonly size: number
  readonly storedSize: number
  readonly slot: number
  readonly compression: Compression
  readonly segmentCount: number
  readonly executable: boolean
  readonly mtimeMs: number | undefined
  readonly #manifest: Uint8Array
  readonly #start: number

  constructor(manifest: Uint8Array, start: number, numbers: EntryNumbers) {
    this.version = numbers.version
    this.offset = numbers.offset
    this.size = numbers.size
    this.storedSize = numbers.storedSize
    this.slot = numbers.slot
    this.compression = numbers.compression
    this.segmentCount = numbers.segmentCount
    this.executable = numbers.executable
    this.mtimeMs = numbers.mtimeMs
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
    const at = this.#start + 2 + this.#pathLength + (this.version === 2 ? 16 : 24)
    return this.#manifest.subarray(at, at + 32)
  }

  get segments(): Uint8Array {
    const fixed =
      this.version === 1 ? ENTRY_FIXED_BYTES : ENTRY_FIXED_BYTES_2 + (this.mtimeMs === undefined ? 0 : MTIME_BYTES)
    const at = this.#start + fixed + this.#pathLength
    return this.#manifest.subarray(at, at + this.segmentCount * recordBytesOf(this.version))
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

import { M2pError } from './errors.ts'
import { NONCE_BYTES, TAG_BYTES } from './limits.ts'
import { checkCollisions } from './collisions.ts'
import { PathDecoder } from './path-decoder.ts'

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
const FIXED_BYTES = 58

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

/** An entry that reads its byte fields from the manifest only when asked: archives have many and callers want few. */
class ParsedEntry implements ArchiveEntry {
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

  constructor(
    manifest: Uint8Array,
    start: number,
    offset: number,
    size: number,
    storedSize: number,
    slot: number,
    compression: Compression,
    segmentCount: number,
  ) {
    this.offset = offset
    this.size = size
    this.storedSize = storedSize
    this.slot = slot
    this.compression = compression
    this.segmentCount = segmentCount
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
    const at = this.#start + FIXED_BYTES + this.#pathLength
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

/** What {@link parseEntries} must know from the preamble. */
export interface EntryContext {
  readonly start: number
  readonly entryCount: number
  readonly segmentSize: number
  readonly slots: ReadonlySet<number>
  readonly maxFileBytes: number
}

/**
 * Reads the entries that fill the manifest from `start` to its end. Fields are read off one DataView, with one
 * bounds check an entry: a Reader costs more than the whole budget for opening 100,000 entries.
 */
export function parseEntries(manifest: Uint8Array, context: EntryContext): EntryTable {
  const parser = new EntryParser(manifest, context)
  const entries: ParsedEntry[] = []
  for (let index = 0; index < context.entryCount; index++) entries.push(parser.next(index))
  parser.end()
  checkCollisions(entries)
  return new EntryTable(entries)
}

class EntryParser {
  readonly #manifest: Uint8Array
  readonly #view: DataView
  readonly #context: EntryContext
  readonly #paths: PathDecoder
  #at: number
  #previousStart = -1
  #previousLength = 0

  constructor(manifest: Uint8Array, context: EntryContext) {
    this.#manifest = manifest
    this.#view = new DataView(manifest.buffer, manifest.byteOffset, manifest.byteLength)
    this.#context = context
    this.#paths = new PathDecoder(manifest)
    this.#at = context.start
  }

  next(index: number): ParsedEntry {
    const start = this.#at
    const pathLength = this.#require(2, index) && this.#view.getUint16(start, true)
    if (pathLength === 0) throw new M2pError('M2P_PATH', `Cannot read entry ${index}: its path is empty`)
    this.#require(FIXED_BYTES + pathLength, index)
    this.#checkOrder(start + 2, pathLength, index)
    const at = start + 2 + pathLength
    const offset = this.#u64(at, 'M2P_TOC', index)
    const size = this.#u64(at + 8, 'M2P_LIMIT', index)
    if (size > this.#context.maxFileBytes) {
      throw new M2pError(
        'M2P_LIMIT',
        `Cannot read entry ${index}: ${size} bytes are over the limit of ${this.#context.maxFileBytes}`,
      )
    }
    const slot = this.#view.getUint32(at + 16, true)
    if (!this.#context.slots.has(slot))
      throw new M2pError('M2P_TOC', `Cannot read entry ${index}: the archive carries no slot ${slot}`)
    const kind = this.#view.getUint32(at + 20, true)
    if (kind > 1)
      throw new M2pError(
        'M2P_HEADER',
        `Cannot read entry ${index}: unknown compression or non-zero reserved bytes`,
      )
    const segmentCount = segmentCountOf(size, this.#context.segmentSize)
    this.#require(FIXED_BYTES + pathLength + segmentCount * SEGMENT_RECORD_BYTES, index)
    const storedSize = this.#stored(at + 56, size, segmentCount, kind === 1, index)
    this.#at = at + 56 + segmentCount * SEGMENT_RECORD_BYTES
    const compression = kind === 1 ? 'zstd' : 'none'
    const entry = new ParsedEntry(this.#manifest, start, offset, size, storedSize, slot, compression, segmentCount)
    this.#paths.add(start + 2, start + 2 + pathLength, index, entry)
    return entry
  }

  end(): void {
    this.#paths.flush()
    if (this.#at !== this.#manifest.length) {
      throw new M2pError(
        'M2P_TOC',
        `Cannot read manifest: ${this.#manifest.length - this.#at} bytes follow its last entry`,
      )
    }
  }

  #require(length: number, index: number): true {
    if (length > this.#manifest.length - this.#at) {
      throw new M2pError(
        'M2P_TOC',
        `Cannot read entry ${index}: the manifest ends within it, at byte ${this.#manifest.length}`,
      )
    }
    return true
  }

  #u64(at: number, code: 'M2P_TOC' | 'M2P_LIMIT', index: number): number {
    const value = this.#view.getUint32(at + 4, true) * 0x1_0000_0000 + this.#view.getUint32(at, true)
    if (!Number.isSafeInteger(value))
      throw new M2pError(code, `Cannot read entry ${index}: the value at byte ${at} is over 2^53 - 1`)
    return value
  }

  #checkOrder(start: number, length: number, index: number): void {
    const manifest = this.#manifest
    const previousStart = this.#previousStart
    const previousLength = this.#previousLength
    this.#previousStart = start
    this.#previousLength = length
    if (previousStart < 0) return
    const shared = Math.min(previousLength, length)
    let difference = 0
    for (let at = 0; at < shared && difference === 0; at++) {
      difference = (manifest[start + at] as number) - (manifest[previousStart + at] as number)
    }
    if (difference === 0) difference = length - previousLength
    if (difference === 0)
      throw new M2pError('M2P_PATH_COLLISION', `Cannot read entry ${index}: it has the path of the one before it`)
    if (difference < 0)
      throw new M2pError('M2P_TOC', `Cannot read entry ${index}: entries are not in order of their paths`)
  }

  #stored(at: number, size: number, count: number, compressed: boolean, index: number): number {
    const { segmentSize } = this.#context
    let total = 0
    for (let segment = 0; segment < count; segment++) {
      const stored = this.#view.getUint32(at + segment * SEGMENT_RECORD_BYTES, true)
      const plain = segmentBytes(size, segmentSize, segment)
      const fits = compressed
        ? plain > 0 && stored > TAG_BYTES && stored <= maxStoredSize(plain)
        : stored === plain + TAG_BYTES
      if (!fits) {
        throw new M2pError(
          'M2P_SIZE',
          `Cannot read entry ${index}: segment ${segment} of ${plain} bytes is said to be stored as ${stored}`,
        )
      }
      total += stored
    }
    return total
  }
}

import { checkCollisions } from './collisions.ts'
import {
  ENTRY_FIXED_BYTES,
  ENTRY_FIXED_BYTES_2,
  EntryTable,
  maxStoredSize,
  MTIME_BYTES,
  ParsedEntry,
  recordBytesOf,
  SEGMENT_RECORD_BYTES,
  segmentBytes,
  segmentCountOf,
} from './entries.ts'
import type { EntryNumbers, TableForm } from './entries.ts'
import { M2pError } from './errors.ts'
import { alignUp } from './layout.ts'
import { HEADER_BYTES, MAX_MTIME_MS, TAG_BYTES } from './limits.ts'
import { PathDecoder } from './path-decoder.ts'

/** What {@link parseEntries} must know from the preamble. */
export interface EntryContext extends TableForm {
  readonly start: number
  readonly entryCount: number
  /** Payloads start at multiples of it; only version 2 says so. */
  readonly align: number
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
  /** Where the next payload of version 2 may start. */
  #payloadEnd = HEADER_BYTES
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
    this.#require(this.#fixedBytes + pathLength, index)
    this.#checkOrder(start + 2, pathLength, index)
    const at = start + 2 + pathLength
    const numbers = this.#context.version === 1 ? this.#numbers1(at, index) : this.#numbers2(at, index)
    const entry = new ParsedEntry(this.#manifest, start, numbers)
    this.#paths.add(start + 2, start + 2 + pathLength, index, entry)
    return entry
  }

  get #fixedBytes(): number {
    const { version, mtimes } = this.#context
    return version === 1 ? ENTRY_FIXED_BYTES : ENTRY_FIXED_BYTES_2 + (mtimes ? MTIME_BYTES : 0)
  }

  #size(at: number, index: number): number {
    const size = this.#u64(at, 'M2P_LIMIT', index)
    if (size > this.#context.maxFileBytes) {
      throw new M2pError(
        'M2P_LIMIT',
        `Cannot read entry ${index}: ${size} bytes are over the limit of ${this.#context.maxFileBytes}`,
      )
    }
    return size
  }

  #slot(at: number, index: number): number {
    const slot = this.#view.getUint32(at, true)
    if (!this.#context.slots.has(slot))
      throw new M2pError('M2P_TOC', `Cannot read entry ${index}: the archive carries no slot ${slot}`)
    return slot
  }

  /** Reads what follows the path in version 1. */
  #numbers1(at: number, index: number): EntryNumbers {
    const offset = this.#u64(at, 'M2P_TOC', index)
    const size = this.#size(at + 8, index)
    const slot = this.#slot(at + 16, index)
    const kind = this.#view.getUint32(at + 20, true)
    if (kind > 1)
      throw new M2pError('M2P_HEADER', `Cannot read entry ${index}: unknown compression or non-zero reserved bytes`)
    const segmentCount = segmentCountOf(size, this.#context.segmentSize)
    this.#require(at + 56 + segmentCount * SEGMENT_RECORD_BYTES - this.#at, index)
    const storedSize = this.#stored(at + 56, size, kind === 1, index)
    this.#at = at + 56 + segmentCount * SEGMENT_RECORD_BYTES
    const compression = kind === 1 ? 'zstd' : 'none'
    const plain = { executable: false, mtimeMs: undefined }
    return { version: 1, offset, size, storedSize, slot, compression, segmentCount, ...plain }
  }

  /** Reads what follows the path in version 2: docs/spec/m2pack-v2.md §1.2. */
  #numbers2(at: number, index: number): EntryNumbers {
    const { mtimes, align } = this.#context
    const size = this.#size(at, index)
    const slot = this.#slot(at + 8, index)
    const kind = this.#view.getUint32(at + 12, true)
    if ((kind & ~0x101) !== 0)
      throw new M2pError('M2P_HEADER', `Cannot read entry ${index}: unknown compression, attributes or reserved bytes`)
    const segmentCount = this.#view.getUint32(at + 48, true)
    if (segmentCount === 0) throw new M2pError('M2P_TOC', `Cannot read entry ${index}: it has no segments`)
    const mtimeMs = mtimes ? this.#mtime(at + 52, index) : undefined
    const segmentsAt = at + 52 + (mtimes ? MTIME_BYTES : 0)
    const end = segmentsAt + segmentCount * recordBytesOf(2)
    this.#require(end - this.#at, index)
    const compressed = (kind & 1) === 1
    const storedSize = this.#stored2(segmentsAt, { size, segmentCount, compressed }, index)
    this.#at = end
    const offset = alignUp(this.#payloadEnd, align)
    this.#payloadEnd = offset + storedSize
    if (!Number.isSafeInteger(this.#payloadEnd))
      throw new M2pError('M2P_TOC', `Cannot read entry ${index}: its payload ends beyond 2^53 - 1`)
    const compression = compressed ? 'zstd' : 'none'
    const executable = (kind & 0x100) !== 0
    return { version: 2, offset, size, storedSize, slot, compression, segmentCount, executable, mtimeMs }
  }

  #mtime(at: number, index: number): number {
    const value = this.#u64(at, 'M2P_TOC', index)
    if (value <= MAX_MTIME_MS) return value
    throw new M2pError('M2P_TOC', `Cannot read entry ${index}: its time of modification is after the year 9999`)
  }

  /** Adds up what is stored, and checks that lengths are possible and make up the file. */
  #stored2(at: number, file: SegmentedFile, index: number): number {
    const { segmentSize } = this.#context
    let [plainTotal, storedTotal, frames] = [0, 0, 0]
    for (let segment = 0; segment < file.segmentCount; segment++) {
      const plain = this.#view.getUint32(at + segment * recordBytesOf(2), true)
      const stored = this.#view.getUint32(at + segment * recordBytesOf(2) + 4, true)
      const isLast = segment === file.segmentCount - 1
      const least = isLast ? Math.min(1, file.size) : segmentSize / 4
      const fits = stored === plain + TAG_BYTES || (stored > TAG_BYTES && stored < plain + TAG_BYTES)
      if (!fits || plain < least || plain > segmentSize * 4)
        this.#refuseSegment(index, segment, `of ${plain} bytes is said to be stored as ${stored}`)
      if (stored < plain + TAG_BYTES) frames++
      plainTotal += plain
      storedTotal += stored
    }
    if (plainTotal !== file.size)
      throw new M2pError(
        'M2P_SIZE',
        `Cannot read entry ${index}: its segments hold ${plainTotal} bytes, the file ${file.size}`,
      )
    if (frames > 0 !== file.compressed)
      throw new M2pError('M2P_SIZE', `Cannot read entry ${index}: its compression is not that of its segments`)
    return storedTotal
  }

  #refuseSegment(index: number, segment: number, what: string): never {
    throw new M2pError('M2P_SIZE', `Cannot read entry ${index}: segment ${segment} ${what}`)
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

  #stored(at: number, size: number, compressed: boolean, index: number): number {
    const { segmentSize } = this.#context
    const count = segmentCountOf(size, segmentSize)
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

/** What an entry says about the whole of its segments. */
interface SegmentedFile {
  readonly size: number
  readonly segmentCount: number
  readonly compressed: boolean
}

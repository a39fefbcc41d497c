import { checkCollisions } from './collisions.ts'
import {
  ENTRY_FIXED_BYTES,
  EntryTable,
  maxStoredSize,
  ParsedEntry,
  SEGMENT_RECORD_BYTES,
  segmentBytes,
  segmentCountOf,
} from './entries.ts'
import { M2pError } from './errors.ts'
import { TAG_BYTES } from './limits.ts'
import { PathDecoder } from './path-decoder.ts'

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
    this.#require(ENTRY_FIXED_BYTES + pathLength, index)
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
      throw new M2pError('M2P_HEADER', `Cannot read entry ${index}: unknown compression or non-zero reserved bytes`)
    const segmentCount = segmentCountOf(size, this.#context.segmentSize)
    this.#require(ENTRY_FIXED_BYTES + pathLength + segmentCount * SEGMENT_RECORD_BYTES, index)
    const storedSize = this.#stored(at + 56, size, kind === 1, index)
    this.#at = at + 56 + segmentCount * SEGMENT_RECORD_BYTES
    const compression = kind === 1 ? 'zstd' : 'none'
    const numbers = { offset, size, storedSize, slot, compression, segmentCount } as const
    const entry = new ParsedEntry(this.#manifest, start, numbers)
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

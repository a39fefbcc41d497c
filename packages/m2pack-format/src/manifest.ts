import { Reader, Writer, utf8Encode } from '@keyturn/primitives'
import { M2pError } from './errors.ts'
import { headerError } from './header.ts'
import type { ArchiveHeader } from './header.ts'
import { checkKeyOf, openTable, sealTable } from './keys.ts'
import type { ContentKey, WrappedSlot } from './keys.ts'
import {
  MAX_ALIGN,
  MAX_AVERAGE_BYTES,
  MAX_SEGMENT_BYTES,
  MAX_SLOTS,
  MIN_SEGMENT_BYTES,
  NONCE_BYTES,
  PREAMBLE_BYTES,
  SLOT_BYTES,
} from './limits.ts'
import type { ArchiveLimits } from './limits.ts'
import { ENTRY_FIXED_BYTES, ENTRY_FIXED_BYTES_2, MTIME_BYTES, segmentTotal } from './entries.ts'
import type { EntryRecord, EntryTable, TableForm } from './entries.ts'
import { parseEntries } from './entry-parser.ts'
import type { FormatVersion } from './version.ts'

/** What the manifest says beside its entries. */
export interface ManifestHead {
  /** Equal to the header's, so that the signature covers it. */
  readonly keyId: number
  /** Bytes of plaintext in every segment but the last of a file, in version 2 on average; a power of two. */
  readonly segmentSize: number
  /** Version of the format; default 1. */
  readonly version?: FormatVersion | undefined
  /** Payloads start at multiples of it; only version 2 says so. Default 1. */
  readonly align?: number | undefined
  /** Whether entries have times of modification; version 2 only, default `false`. */
  readonly mtimes?: boolean | undefined
  /** What the archive says about its content key without giving it away, 32 bytes. */
  readonly commitment: Uint8Array
  /** The wrapped slots, ascending. */
  readonly slots: readonly WrappedSlot[]
  /** The entry table is encrypted: without the content key nobody can list the files; default false. */
  readonly sealed?: boolean | undefined
}

/** A manifest as read. */
export interface Manifest extends Omit<ManifestHead, keyof TableForm>, TableForm {
  /** The manifest with its table in the clear; the bytes as read unless the table is sealed. */
  readonly opened: Uint8Array
  /** The files, in order of their path bytes; undefined for a sealed table that was read without its content key. */
  readonly table: EntryTable | undefined
}

/** The flag for a sealed entry table. Bit 0 stays free, because archives that say 1 were always refused. */
const SEALED_TABLE = 2
/** The flag of version 2 for times of modification. */
const TIMES = 4

const TAG: Uint8Array = utf8Encode('M2MF')

function isPowerOfTwo(value: number): boolean {
  return value > 0 && (value & (value - 1)) === 0
}

/** Largest `segment_size`: what a reader must have memory for is the same in both versions. */
export function maxSegmentSize(version: FormatVersion): number {
  return version === 1 ? MAX_SEGMENT_BYTES : MAX_AVERAGE_BYTES
}

/** Refuses a segment size that the format does not know. */
export function isSegmentSize(value: number, version: FormatVersion = 1): boolean {
  const isInRange = value >= MIN_SEGMENT_BYTES && value <= maxSegmentSize(version)
  return Number.isInteger(value) && isInRange && isPowerOfTwo(value)
}

/** Whether payloads may start at multiples of a number. */
export function isAlignment(value: number): boolean {
  return Number.isInteger(value) && value >= 1 && value <= MAX_ALIGN && isPowerOfTwo(value)
}

function readFlags(reader: Reader, version: FormatVersion): { sealed: boolean; mtimes: boolean } {
  const flags = reader.u32le('flags')
  const known = version === 1 ? SEALED_TABLE : SEALED_TABLE | TIMES
  if ((flags & ~known) !== 0) {
    const expected = version === 1 ? `0 or ${SEALED_TABLE}` : `0, ${SEALED_TABLE}, ${TIMES} or ${known}`
    throw new M2pError('M2P_HEADER', `Cannot read manifest: its flags are ${flags}, expected ${expected}`)
  }
  return { sealed: (flags & SEALED_TABLE) !== 0, mtimes: (flags & TIMES) !== 0 }
}

/** The last four bytes before the commitment: zero in version 1, where alignment is nowhere said. */
function readAlignment(reader: Reader, version: FormatVersion): number {
  if (version === 1) {
    reader.zeros(4, 'reserved')
    return 1
  }
  const align = reader.u32le('alignment')
  if (isAlignment(align)) return align
  throw new M2pError('M2P_HEADER', `Cannot read manifest: alignment ${align}, expected a power of two up to 1 MiB`)
}

function readPreamble(reader: Reader, header: ArchiveHeader, limits: ArchiveLimits) {
  // offset  size  field              docs/spec/m2pack.md §2
  //  0      4     tag
  //  4      4     version
  //  8      4     key_id
  //  12     4     entry_count
  //  16     4     segment_size
  //  20     4     flags
  //  24     4     slot_count
  //  28     4     reserved; alignment in version 2
  //  32     32    key_commitment
  reader.expect(TAG, 'manifest tag')
  const version = reader.u32le('manifest version')
  const keyId = reader.u32le('manifest key_id')
  if (version !== header.version || keyId !== header.keyId) {
    throw new M2pError(
      'M2P_HEADER',
      `Cannot read manifest: it says version ${version} and key_id ${keyId}, the header ${header.version} and ` +
        `${header.keyId}`,
    )
  }
  const entryCount = reader.u32le('entry_count', { max: limits.entryCount })
  const segmentSize = reader.u32le('segment_size')
  if (!isSegmentSize(segmentSize, header.version)) {
    const most = maxSegmentSize(header.version) / (1024 * 1024)
    throw new M2pError(
      'M2P_HEADER',
      `Cannot read manifest: segment size ${segmentSize}, expected a power of two from 64 KiB to ${most} MiB`,
    )
  }
  const { sealed, mtimes } = readFlags(reader, header.version)
  const slotCount = reader.u32le('slot_count', { max: MAX_SLOTS })
  const align = readAlignment(reader, header.version)
  const commitment = Uint8Array.from(reader.bytes(32, 'key_commitment'))
  const form = { version: header.version, segmentSize, mtimes }
  return { keyId, entryCount, form, align, sealed, slotCount, commitment }
}

function readSlots(reader: Reader, slotCount: number): WrappedSlot[] {
  if (reader.remaining < slotCount * SLOT_BYTES) {
    throw new M2pError('M2P_TOC', `Cannot read slots: ${slotCount} are announced, the manifest has no room for them`)
  }
  const slots: WrappedSlot[] = []
  let highest = 0
  for (let index = 0; index < slotCount; index++) {
    const number = reader.u32le('slot number')
    if (number <= highest) throw new M2pError('M2P_TOC', `Cannot read slots: number ${number} follows ${highest}`)
    highest = number
    slots.push({
      number,
      nonce: Uint8Array.from(reader.bytes(NONCE_BYTES, 'slot nonce')),
      wrapped: Uint8Array.from(reader.bytes(48, 'slot')),
    })
  }
  return slots
}

/**
 * Reads a manifest whose hash and signature were checked, and checks everything in it: counts, paths, ranges.
 *
 * @param bytes - The manifest; the table keeps views of it.
 * @param contentKey - Opens a sealed table; without it such a manifest has no table.
 * @throws {@link M2pError} `M2P_HEADER`, `M2P_LIMIT`, `M2P_TOC`, `M2P_SIZE`, `M2P_PATH`, `M2P_PATH_COLLISION`; for a
 *   sealed table also `M2P_KEY_ID_MISMATCH`, `M2P_KEY_COMMITMENT`, `M2P_DECRYPT`.
 */
export function parseManifest(
  bytes: Uint8Array,
  header: ArchiveHeader,
  limits: ArchiveLimits,
  contentKey?: ContentKey,
): Manifest {
  const reader = new Reader(bytes, headerError)
  const { keyId, entryCount, form, align, sealed, slotCount, commitment } = readPreamble(reader, header, limits)
  const slots = readSlots(reader, slotCount)
  const head = { ...form, keyId, align, commitment, slots, sealed }
  if (sealed && contentKey === undefined) return { ...head, opened: bytes, table: undefined }
  let opened = bytes
  if (sealed && contentKey !== undefined) {
    checkKeyOf(contentKey, keyId, commitment)
    opened = openTable(contentKey, { manifest: bytes, start: reader.offset, version: form.version })
  }
  const table = parseEntries(opened, {
    ...form,
    start: reader.offset,
    entryCount,
    align,
    slots: new Set(slots.map((slot) => slot.number)),
    maxFileBytes: limits.fileBytes,
  })
  return { ...head, opened, table }
}

/**
 * Writes a manifest; `entries` must be in path order.
 *
 * @param contentKey - Of the archive: it seals the table where `head` says so.
 */
export function writeManifest(
  head: ManifestHead,
  entries: readonly EntryRecord[],
  contentKey: ContentKey,
): Uint8Array<ArrayBuffer> {
  const plain = writePlain(head, entries)
  if (head.sealed !== true) return plain
  const start = PREAMBLE_BYTES + head.slots.length * SLOT_BYTES
  return sealTable(contentKey, { manifest: plain, start, version: head.version ?? 1 })
}

function flagsOf({ sealed = false, mtimes = false }: ManifestHead): number {
  return (sealed ? SEALED_TABLE : 0) + (mtimes ? TIMES : 0)
}

function writeEntry(writer: Writer, entry: EntryRecord): void {
  writer
    .u16le(entry.pathBytes.length)
    .bytes(entry.pathBytes)
    .u64le(entry.offset)
    .u64le(entry.size)
    .u32le(entry.slot)
    .u8(entry.compression === 'zstd' ? 1 : 0)
    .zeros(3)
    .bytes(entry.sha256)
    .bytes(entry.segments)
}

function writeEntry2(writer: Writer, entry: EntryRecord, mtimes: boolean): void {
  writer
    .u16le(entry.pathBytes.length)
    .bytes(entry.pathBytes)
    .u64le(entry.size)
    .u32le(entry.slot)
    .u8(entry.compression === 'zstd' ? 1 : 0)
    .u8(entry.executable === true ? 1 : 0)
    .zeros(2)
    .bytes(entry.sha256)
    .u32le(segmentTotal(entry))
  if (mtimes) writer.u64le(entry.mtimeMs ?? 0)
  writer.bytes(entry.segments)
}

function writePlain(head: ManifestHead, entries: readonly EntryRecord[]): Uint8Array<ArrayBuffer> {
  const { version = 1, mtimes = false, align = 1 } = head
  const fixed = version === 1 ? ENTRY_FIXED_BYTES : ENTRY_FIXED_BYTES_2 + (mtimes ? MTIME_BYTES : 0)
  let size = PREAMBLE_BYTES + head.slots.length * SLOT_BYTES
  for (const entry of entries) size += entry.pathBytes.length + fixed + entry.segments.length
  const writer = new Writer(size)
    .bytes(TAG)
    .u32le(version)
    .u32le(head.keyId)
    .u32le(entries.length)
    .u32le(head.segmentSize)
    .u32le(flagsOf(head))
    .u32le(head.slots.length)
    .u32le(version === 1 ? 0 : align)
    .bytes(head.commitment)
  for (const slot of head.slots) writer.u32le(slot.number).bytes(slot.nonce).bytes(slot.wrapped)
  for (const entry of entries) {
    if (version === 1) writeEntry(writer, entry)
    else writeEntry2(writer, entry, mtimes)
  }
  return writer.finish()
}

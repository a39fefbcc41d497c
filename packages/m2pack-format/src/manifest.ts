import { Reader, Writer, utf8Encode } from '@keyturn/primitives'
import { M2pError } from './errors.ts'
import { FORMAT_VERSION, headerError } from './header.ts'
import type { ArchiveHeader } from './header.ts'
import { checkKeyOf, openTable, sealTable } from './keys.ts'
import type { ContentKey, WrappedSlot } from './keys.ts'
import { MAX_SEGMENT_BYTES, MAX_SLOTS, MIN_SEGMENT_BYTES, NONCE_BYTES, PREAMBLE_BYTES, SLOT_BYTES } from './limits.ts'
import type { ArchiveLimits } from './limits.ts'
import type { EntryRecord, EntryTable } from './entries.ts'
import { parseEntries } from './entry-parser.ts'

/** What the manifest says beside its entries. */
export interface ManifestHead {
  /** Equal to the header's, so that the signature covers it. */
  readonly keyId: number
  /** Bytes of plaintext in every segment but the last of a file; a power of two. */
  readonly segmentSize: number
  /** What the archive says about its content key without giving it away, 32 bytes. */
  readonly commitment: Uint8Array
  /** The wrapped slots, ascending. */
  readonly slots: readonly WrappedSlot[]
  /** The entry table is encrypted: without the content key nobody can list the files; default false. */
  readonly sealed?: boolean | undefined
}

/** A manifest as read. */
export interface Manifest extends ManifestHead {
  /** The manifest with its table in the clear; the bytes as read unless the table is sealed. */
  readonly opened: Uint8Array
  /** The files, in order of their path bytes; undefined for a sealed table that was read without its content key. */
  readonly table: EntryTable | undefined
}

/** The one flag: the entry table is sealed. Bit 0 stays free, because archives that say 1 were always refused. */
const SEALED_TABLE = 2

const TAG: Uint8Array = utf8Encode('M2MF')

function isPowerOfTwo(value: number): boolean {
  return value > 0 && (value & (value - 1)) === 0
}

/** Refuses a segment size that the format does not know. */
export function isSegmentSize(value: number): boolean {
  return Number.isInteger(value) && value >= MIN_SEGMENT_BYTES && value <= MAX_SEGMENT_BYTES && isPowerOfTwo(value)
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
  //  28     4     reserved
  //  32     32    key_commitment
  reader.expect(TAG, 'manifest tag')
  const version = reader.u32le('manifest version')
  const keyId = reader.u32le('manifest key_id')
  if (version !== FORMAT_VERSION || keyId !== header.keyId) {
    throw new M2pError(
      'M2P_HEADER',
      `Cannot read manifest: it says version ${version} and key_id ${keyId}, the header ${FORMAT_VERSION} and ` +
        `${header.keyId}`,
    )
  }
  const entryCount = reader.u32le('entry_count', { max: limits.entryCount })
  const segmentSize = reader.u32le('segment_size')
  if (!isSegmentSize(segmentSize)) {
    throw new M2pError(
      'M2P_HEADER',
      `Cannot read manifest: segment size ${segmentSize}, expected a power of two from 64 KiB to 16 MiB`,
    )
  }
  const flags = reader.u32le('flags')
  if (flags !== 0 && flags !== SEALED_TABLE)
    throw new M2pError('M2P_HEADER', `Cannot read manifest: its flags are ${flags}, expected 0 or ${SEALED_TABLE}`)
  const slotCount = reader.u32le('slot_count', { max: MAX_SLOTS })
  reader.zeros(4, 'reserved')
  const commitment = Uint8Array.from(reader.bytes(32, 'key_commitment'))
  return { keyId, entryCount, segmentSize, sealed: flags === SEALED_TABLE, slotCount, commitment }
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
  const { keyId, entryCount, segmentSize, sealed, slotCount, commitment } = readPreamble(reader, header, limits)
  const slots = readSlots(reader, slotCount)
  const head = { keyId, segmentSize, commitment, slots, sealed }
  if (sealed && contentKey === undefined) return { ...head, opened: bytes, table: undefined }
  let opened = bytes
  if (sealed && contentKey !== undefined) {
    checkKeyOf(contentKey, keyId, commitment)
    opened = openTable(contentKey, bytes, reader.offset)
  }
  const table = parseEntries(opened, {
    start: reader.offset,
    entryCount,
    segmentSize,
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
  return head.sealed === true ? sealTable(contentKey, plain, PREAMBLE_BYTES + head.slots.length * SLOT_BYTES) : plain
}

function writePlain(head: ManifestHead, entries: readonly EntryRecord[]): Uint8Array<ArrayBuffer> {
  let size = PREAMBLE_BYTES + head.slots.length * SLOT_BYTES
  for (const entry of entries) size += entry.pathBytes.length + 58 + entry.segments.length
  const writer = new Writer(size)
    .bytes(TAG)
    .u32le(FORMAT_VERSION)
    .u32le(head.keyId)
    .u32le(entries.length)
    .u32le(head.segmentSize)
    .u32le(head.sealed === true ? SEALED_TABLE : 0)
    .u32le(head.slots.length)
    .u32le(0)
    .bytes(head.commitment)
  for (const slot of head.slots) writer.u32le(slot.number).bytes(slot.nonce).bytes(slot.wrapped)
  for (const entry of entries) {
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
  return writer.finish()
}

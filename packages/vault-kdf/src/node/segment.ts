import { createHash } from 'node:crypto'
import { Reader, Writer, equalBytes } from '@keyturn/primitives'
import type { RecordFormat, StoredRecord, Fence } from '../store.ts'
import { isLayer } from '../place.ts'

// A segment is a magic of 8 bytes and frames, docs/spec/vault-kdf.md §10.2:
// offset  size  field
//  0       4    length of the payload   u32 big-endian
//  4       8    check                   first 8 bytes of SHA-256 over length and payload
// 12       n    payload                 one batch: entries, each a kind byte and its fields
/** First bytes of every segment; the last is the format version. */
export const segmentMagic = new Uint8Array([0x89, 0x4b, 0x54, 0x56, 0x53, 0x0d, 0x0a, 0x01])
/** Bytes in front of a payload. */
export const frameHeaderBytes = 12
/** Largest payload a reader believes. */
export const maxFrameBytes = 256 * 1024 * 1024

/** One entry of a batch. */
export type SegmentEntry =
  | { readonly kind: 'put'; readonly record: StoredRecord }
  | { readonly kind: 'remove'; readonly partition: string; readonly cell: string; readonly name: string }
  | {
      readonly kind: 'document'
      readonly name: string
      readonly bytes: Uint8Array
      readonly revision: number
      readonly fence: Fence | undefined
    }
  /** First in a rewritten segment: revisions up to this one were given before. */
  | { readonly kind: 'revision'; readonly revision: number }

const kinds = { put: 1, remove: 2, document: 3, revision: 4 } as const
const decoder = new TextDecoder('utf-8', { fatal: true })
const encoder = new TextEncoder()
const none = 0xffff_ffff_ffff_ffffn

function putText(writer: Writer, text: string): void {
  const bytes = encoder.encode(text)
  writer.u32be(bytes.length).bytes(bytes)
}

function putBytes(writer: Writer, bytes: Uint8Array): void {
  writer.u32be(bytes.length).bytes(bytes)
}

function check(length: Uint8Array, payload: Uint8Array): Uint8Array {
  return createHash('sha256').update(length).update(payload).digest().subarray(0, 8)
}

/** Where the envelope of each put lies within the frame that {@link writeFrame} made. */
export interface WrittenFrame {
  readonly bytes: Uint8Array
  /** Offset of the envelope's first byte from the start of the frame, by entry; -1 for other kinds. */
  readonly envelopeOffsets: readonly number[]
}

/** One batch as a frame. */
export function writeFrame(entries: readonly SegmentEntry[]): WrittenFrame {
  const writer = new Writer()
  writer.zeros(frameHeaderBytes)
  const envelopeOffsets = entries.map((entry) => writeEntry(writer, entry))
  const bytes = writer.finish()
  const payload = bytes.subarray(frameHeaderBytes)
  new DataView(bytes.buffer, bytes.byteOffset).setUint32(0, payload.length)
  bytes.set(check(bytes.subarray(0, 4), payload), 4)
  return { bytes, envelopeOffsets }
}

function writeEntry(writer: Writer, entry: SegmentEntry): number {
  writer.u8(kinds[entry.kind])
  if (entry.kind === 'revision') {
    writer.u64be(BigInt(entry.revision))
    return -1
  }
  if (entry.kind === 'document') {
    putText(writer, entry.name)
    writer.u64be(BigInt(entry.revision))
    writer.u64be(entry.fence === undefined ? none : BigInt(entry.fence.epoch))
    writer.u64be(entry.fence?.activeVersion === undefined ? none : BigInt(entry.fence.activeVersion))
    putBytes(writer, entry.bytes)
    return -1
  }
  const id = entry.kind === 'put' ? entry.record : entry
  putText(writer, id.partition)
  putText(writer, id.cell)
  putText(writer, id.name)
  if (entry.kind === 'remove') return -1
  const { layer, format, keyVersion, revision, expiresAt, sidecar, envelope } = entry.record
  writer
    .u8(layer)
    .u8(format === 'v1' ? 1 : 0)
    .u32be(keyVersion)
    .u64be(BigInt(revision))
    .u64be(expiresAt === undefined ? none : BigInt(expiresAt))
  putBytes(writer, sidecar ?? new Uint8Array(0))
  writer.u32be(envelope.length)
  const offset = writer.length
  writer.bytes(envelope)
  return offset
}

/** Whether the header of a frame and its payload belong together. */
export function frameHolds(header: Uint8Array, payload: Uint8Array): boolean {
  return equalBytes(header.subarray(4, frameHeaderBytes), check(header.subarray(0, 4), payload))
}

/** Parses the payload of a frame whose check holds. */
export function parsePayload(payload: Uint8Array): { entry: SegmentEntry; envelopeOffset: number }[] {
  const reader = new Reader(payload)
  const entries: { entry: SegmentEntry; envelopeOffset: number }[] = []
  while (reader.remaining > 0) entries.push(readEntry(reader))
  return entries
}

function text(reader: Reader, field: string): string {
  return decoder.decode(reader.bytes(reader.u32be(`${field} length`, { max: reader.remaining }), field))
}

function number(reader: Reader, field: string): number | undefined {
  const value = reader.u64be(field)
  return value === none ? undefined : Number(value)
}

function readEntry(reader: Reader): { entry: SegmentEntry; envelopeOffset: number } {
  const kind = reader.u8('kind', { min: 1, max: 4 })
  if (kind === kinds.revision)
    return { entry: { kind: 'revision', revision: number(reader, 'revision') ?? 0 }, envelopeOffset: -1 }
  if (kind === kinds.document) return { entry: readDocument(reader), envelopeOffset: -1 }
  const id = { partition: text(reader, 'partition'), cell: text(reader, 'cell'), name: text(reader, 'name') }
  if (kind === kinds.remove) return { entry: { kind: 'remove', ...id }, envelopeOffset: -1 }
  const layer = reader.u8('layer', { max: 2 })
  const format: RecordFormat = reader.u8('format', { max: 1 }) === 1 ? 'v1' : 'v0'
  const keyVersion = reader.u32be('key version')
  const revision = number(reader, 'revision') ?? 0
  const expiresAt = number(reader, 'expiry')
  const sidecar = reader.bytes(reader.u32be('sidecar length', { max: reader.remaining }), 'sidecar')
  const length = reader.u32be('envelope length', { max: reader.remaining })
  const envelopeOffset = reader.offset
  const envelope = reader.bytes(length, 'envelope')
  const record: StoredRecord = {
    ...id,
    format,
    keyVersion,
    revision,
    envelope,
    layer: isLayer(layer) ? layer : 0,
    ...(sidecar.length === 0 ? {} : { sidecar: sidecar.slice() }),
    ...(expiresAt === undefined ? {} : { expiresAt }),
  }
  return { entry: { kind: 'put', record }, envelopeOffset }
}

function readDocument(reader: Reader): SegmentEntry {
  const name = text(reader, 'document')
  const revision = number(reader, 'revision') ?? 0
  const epoch = number(reader, 'epoch')
  const activeVersion = number(reader, 'active version')
  const bytes = reader.bytes(reader.u32be('document length', { max: reader.remaining }), 'document').slice()
  return { kind: 'document', name, bytes, revision, fence: epoch === undefined ? undefined : { epoch, activeVersion } }
}

import { Reader, utf8Decode, utf8Encode, Writer } from '@keyturn/primitives'
import { NoiseKeysError } from '../errors.ts'

/** Longest DNS packet a pkarr packet may carry. */
export const MAX_DNS_PACKET_BYTES = 1000
/** Type of the records this package writes. */
export const TXT = 16

/** One record of a packet. */
export interface DnsRecord {
  /** Relative to the identity; `@` is the identity itself. Lower case. */
  readonly name: string
  readonly type: number
  readonly ttlS: number
  /** Record data; names inside it are spelled out, never compressed. */
  readonly rdata: Uint8Array
}

const REPLY_FLAGS = 0x8000
const CLASS_IN = 1
const HEADER_BYTES = 12
const MAX_LABEL_BYTES = 63
const MAX_NAME_BYTES = 255
const MAX_POINTERS = 16
const POINTER = 0xc0
/** Types whose data is one name, of those RFC 1035 lets writers compress: NS, CNAME, PTR. */
const NAME_TYPES = new Set([2, 5, 12])
const MX = 15
const SOA = 6

/** A TXT record; a value over 255 bytes is split into character-strings. */
export function txtRecord(name: string, value: string, ttlS: number): DnsRecord {
  const bytes = utf8Encode(value)
  const writer = new Writer(bytes.length + Math.ceil(bytes.length / 255) + 1)
  for (let start = 0; start === 0 || start < bytes.length; start += 255) {
    const part = bytes.subarray(start, start + 255)
    writer.u8(part.length).bytes(part)
  }
  return { name, type: TXT, ttlS, rdata: writer.finish() }
}

/**
 * The text of a TXT record, its character-strings joined.
 *
 * @throws {@link NoiseKeysError} `NK_RECORD`.
 */
export function txtValue(record: DnsRecord): string {
  const reader = dnsReader(record.rdata)
  const parts: Uint8Array[] = []
  while (reader.remaining > 0) parts.push(reader.bytes(reader.u8('string length'), 'string'))
  try {
    const writer = new Writer()
    for (const part of parts) writer.bytes(part)
    return utf8Decode(writer.finish())
  } catch (cause) {
    throw malformed('a TXT value that is not UTF-8', cause)
  }
}

/**
 * Writes the DNS packet of an identity: a reply with answers only, names compressed as RFC 1035 §4.1.4 says.
 *
 * @param origin - Name of the identity in z-base-32; appended to every name.
 * @throws {@link NoiseKeysError} `NK_DNS_SIZE`, `NK_RECORD` (a name that cannot be written).
 */
export function encodeDnsPacket(origin: string, records: readonly DnsRecord[]): Uint8Array {
  const room = records.reduce(
    (sum, { name, rdata }) => sum + name.length + origin.length + rdata.length + 16,
    HEADER_BYTES,
  )
  const writer = new Writer(room).u16be(0).u16be(REPLY_FLAGS).u16be(0).u16be(records.length).u16be(0).u16be(0)
  const offsets = new Map<string, number>()
  for (const record of records) {
    writeName(writer, absoluteName(record.name, origin), offsets)
    writer.u16be(record.type).u16be(CLASS_IN).u32be(record.ttlS).u16be(record.rdata.length).bytes(record.rdata)
  }
  const packet = writer.finish()
  assertSize(packet)
  return packet
}

/**
 * Reads the DNS packet of an identity, compressed or not.
 *
 * @throws {@link NoiseKeysError} `NK_DNS_SIZE`, `NK_RECORD` (loops, labels over 63 bytes, names outside the identity,
 *   anything but answers).
 */
export function decodeDnsPacket(origin: string, packet: Uint8Array): DnsRecord[] {
  assertSize(packet)
  const reader = dnsReader(packet)
  reader.u16be('id')
  reader.u16be('flags')
  const questions = reader.u16be('question count')
  const answers = reader.u16be('answer count')
  const others = reader.u16be('authority count') + reader.u16be('additional count')
  if (questions !== 0 || others !== 0) throw malformed('sections beside the answers')
  const records: DnsRecord[] = []
  for (let index = 0; index < answers; index += 1) records.push(readRecord(reader, packet, origin))
  reader.end()
  return records
}

function readRecord(reader: Reader, packet: Uint8Array, origin: string): DnsRecord {
  const name = relativeName(readName(reader, packet), origin)
  const type = reader.u16be('type')
  // The top bit is a cache-flush hint of multicast DNS, which some writers set.
  if ((reader.u16be('class') & 0x7fff) !== CLASS_IN) throw malformed('a class other than IN')
  const ttlS = reader.u32be('ttl')
  const length = reader.u16be('data length')
  const start = reader.offset
  const rdata = reader.bytes(length, 'data')
  return { name, type, ttlS, rdata: expandNames(type, packet, start, rdata) }
}

/** Spells out names in record data, since a packet that is written again has its offsets elsewhere. */
function expandNames(type: number, packet: Uint8Array, start: number, rdata: Uint8Array): Uint8Array {
  if (!NAME_TYPES.has(type) && type !== MX && type !== SOA) return rdata.slice()
  const reader = dnsReader(packet.subarray(0, start + rdata.length))
  reader.bytes(start, 'packet before the data')
  const writer = new Writer(2 * MAX_NAME_BYTES + rdata.length)
  if (type === MX) writer.u16be(reader.u16be('preference'))
  for (let names = type === SOA ? 2 : 1; names > 0; names -= 1) writeLabels(writer, readName(reader, packet))
  return writer.bytes(reader.rest('rest of the data')).finish()
}

/** @returns The labels joined by dots, lower case, without the root's dot. */
function readName(reader: Reader, packet: Uint8Array): string {
  const labels: string[] = []
  let at = reader
  let pointers = 0
  for (;;) {
    const length = at.u8('label length')
    if (length === 0) break
    if ((length & POINTER) === POINTER) {
      const target = ((length & ~POINTER) << 8) | at.u8('pointer')
      if ((pointers += 1) > MAX_POINTERS || target < HEADER_BYTES || target >= packet.length)
        throw malformed('a pointer that leads nowhere')
      at = dnsReader(packet)
      at.bytes(target, 'packet before the pointer')
      continue
    }
    if (length > MAX_LABEL_BYTES) throw malformed('a label over 63 bytes')
    labels.push(String.fromCharCode(...at.bytes(length, 'label')).toLowerCase())
    if (labels.join('.').length > MAX_NAME_BYTES - 2) throw malformed('a name over 255 bytes')
  }
  return labels.join('.')
}

/** Compresses: the longest ending of the name that was written before is replaced by a pointer to it. */
function writeName(writer: Writer, name: string, offsets: Map<string, number>): void {
  const labels = name.split('.')
  for (let index = 0; index < labels.length; index += 1) {
    const ending = labels.slice(index).join('.')
    const known = offsets.get(ending)
    if (known !== undefined) {
      writer.u16be((POINTER << 8) | known)
      return
    }
    offsets.set(ending, writer.length)
    writeLabel(writer, labels[index] as string)
  }
  writer.u8(0)
}

function writeLabels(writer: Writer, name: string): void {
  for (const label of name === '' ? [] : name.split('.')) writeLabel(writer, label)
  writer.u8(0)
}

function writeLabel(writer: Writer, label: string): void {
  if (label.length === 0 || label.length > MAX_LABEL_BYTES || !/^[\x21-\x7e]+$/.test(label)) {
    throw malformed('a label that is empty, over 63 bytes or not printable ASCII')
  }
  writer.u8(label.length).bytes(utf8Encode(label.toLowerCase()))
}

function absoluteName(name: string, origin: string): string {
  const bare = name.replace(/\.$/, '').toLowerCase()
  if (bare === '' || bare === '@' || bare === origin) return origin
  const absolute = bare.endsWith(`.${origin}`) ? bare : `${bare}.${origin}`
  if (absolute.length > MAX_NAME_BYTES - 2) throw malformed('a name over 255 bytes')
  return absolute
}

function relativeName(absolute: string, origin: string): string {
  if (absolute === origin || absolute === '') return '@'
  if (!absolute.endsWith(`.${origin}`)) throw malformed('a name that is not below its identity')
  return absolute.slice(0, -origin.length - 1)
}

function assertSize(packet: Uint8Array): void {
  if (packet.length <= MAX_DNS_PACKET_BYTES) return
  throw new NoiseKeysError(
    'NK_DNS_SIZE',
    `The DNS packet has ${packet.length} bytes, at most ${MAX_DNS_PACKET_BYTES} are allowed`,
  )
}

function dnsReader(bytes: Uint8Array): Reader {
  return new Reader(bytes, ({ field, offset }) => malformed(`no whole "${field}" at byte ${offset}`))
}

function malformed(what: string, cause?: unknown): NoiseKeysError {
  return new NoiseKeysError('NK_RECORD', `Cannot read DNS packet: it has ${what}`, cause === undefined ? {} : { cause })
}

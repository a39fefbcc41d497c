import { createHash } from 'node:crypto'
import { Reader, utf8Decode, Writer } from '@keyturn/primitives'
import type { FileSystem } from '@keyturn/primitives/node'
import { readSmallFile, writeSmallFile } from './disk.ts'
import type { FileIdentity } from './disk.ts'

// offset size field                                docs/spec/launcher.md §3.2
//  0     4    magic "KTHC"
//  4     1    version 1
//  5     3    zero
//  8     4    entry count n
// 12     ..   n × { path length u16, path UTF-8, size u64, mtime ns u64, ctime ns u64, inode u64, SHA-256 (32) }
//  end   32   SHA-256 of all before it
const magic = new TextEncoder().encode('KTHC')
const MAX_CACHE_BYTES = 256 * 1024 * 1024
const MAX_ENTRIES = 1_000_000

/** Bytes of a record after its path: size, two times, inode, hash. */
const FIXED_BYTES = 64
const HEADER_BYTES = 12
const encoder = new TextEncoder()

/**
 * Remembers hashes of installed files by size, times and inode, so that an unchanged install is checked without reading
 * it. A convenience for planning and starting only: `repair` and full verification never ask it. Records stay packed:
 * an install has tens of thousands.
 */
export class HashCache {
  /** The stored file as it was read, then what was added since. */
  readonly #stored: DataView
  #added = new DataView(new ArrayBuffer(0))
  #addedBytes = 0
  /** By path: where the fixed part of its record begins, counted through both. */
  readonly #places: Map<string, number>
  #changed = false

  private constructor(stored: DataView, places: Map<string, number>) {
    this.#stored = stored
    this.#places = places
  }

  /** Files remembered. */
  get size(): number {
    return this.#places.size
  }

  #record(place: number): DataView {
    const { byteLength } = this.#stored
    const { buffer, byteOffset } = place < byteLength ? this.#stored : this.#added
    return new DataView(buffer, byteOffset + (place < byteLength ? place : place - byteLength), FIXED_BYTES)
  }

  /** The hash of a file, if it was hashed with this very identity. */
  get(path: string, identity: FileIdentity): string | undefined {
    const place = this.#places.get(path)
    if (place === undefined) return undefined
    const record = this.#record(place)
    if (record.getBigUint64(0, true) !== BigInt(identity.size) || record.getBigUint64(8, true) !== identity.mtimeNs)
      return undefined
    if (record.getBigUint64(16, true) !== identity.ctimeNs || record.getBigUint64(24, true) !== identity.inode)
      return undefined
    return Buffer.from(record.buffer, record.byteOffset + 32, 32).toString('hex')
  }

  /** Remembers a hash. */
  set(path: string, identity: FileIdentity, sha256: string): void {
    const known = this.#places.get(path)
    const place =
      known !== undefined && known >= this.#stored.byteLength ? known : this.#stored.byteLength + this.#append()
    const record = this.#record(place)
    record.setBigUint64(0, BigInt(identity.size), true)
    record.setBigUint64(8, identity.mtimeNs, true)
    record.setBigUint64(16, identity.ctimeNs, true)
    record.setBigUint64(24, identity.inode, true)
    Buffer.from(record.buffer, record.byteOffset + 32, 32).write(sha256, 'hex')
    this.#places.set(path, place)
    this.#changed = true
  }

  /** Makes room for one more record and returns where it begins. */
  #append(): number {
    const place = this.#addedBytes
    this.#addedBytes += FIXED_BYTES
    if (this.#addedBytes > this.#added.byteLength) {
      const grown = new Uint8Array(Math.max(64 * FIXED_BYTES, 2 * this.#added.byteLength))
      grown.set(new Uint8Array(this.#added.buffer))
      this.#added = new DataView(grown.buffer)
    }
    return place
  }

  /** Forgets a file. */
  delete(path: string): void {
    this.#changed = this.#places.delete(path) || this.#changed
  }

  /** Forgets what is not in `paths`. */
  keepOnly(paths: ReadonlySet<string>): void {
    for (const path of this.#places.keys()) if (!paths.has(path)) this.delete(path)
  }

  /** Reads the cache; a damaged one is an empty one. */
  static async load(fs: FileSystem, path: string): Promise<HashCache> {
    try {
      const bytes = await readSmallFile(fs, path, MAX_CACHE_BYTES)
      if (bytes !== undefined)
        return new HashCache(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), locate(bytes))
    } catch {
      // nothing is lost but time
    }
    return new HashCache(new DataView(new ArrayBuffer(0)), new Map())
  }

  /** Writes the cache if it changed. */
  async save(fs: FileSystem, path: string): Promise<void> {
    if (!this.#changed) return
    await writeSmallFile(fs, path, this.#encode())
    this.#changed = false
  }

  #encode(): Uint8Array {
    let length = HEADER_BYTES + 32
    for (const path of this.#places.keys()) length += 2 + Buffer.byteLength(path) + FIXED_BYTES
    const bytes = new Uint8Array(length)
    bytes.set(new Writer().bytes(magic).u8(1).zeros(3).u32le(this.#places.size).finish())
    const view = new DataView(bytes.buffer)
    let at = HEADER_BYTES
    for (const [path, place] of this.#places) {
      const { written } = encoder.encodeInto(path, bytes.subarray(at + 2))
      view.setUint16(at, written, true)
      const { buffer, byteOffset } = this.#record(place)
      bytes.set(new Uint8Array(buffer, byteOffset, FIXED_BYTES), at + 2 + written)
      at += 2 + written + FIXED_BYTES
    }
    bytes.set(createHash('sha256').update(bytes.subarray(0, at)).digest(), at)
    return bytes
  }
}

/** Finds the records of a stored cache. */
function locate(bytes: Uint8Array): Map<string, number> {
  const body = bytes.subarray(0, -32)
  if (!createHash('sha256').update(body).digest().equals(bytes.subarray(-32)))
    throw new RangeError('The cache is damaged')
  const reader = new Reader(body)
  reader.expect(magic, 'magic')
  reader.u8('version', { min: 1, max: 1 })
  reader.zeros(3, 'zero')
  const count = reader.u32le('entryCount', { max: MAX_ENTRIES })
  const places = new Map<string, number>()
  for (let index = 0; index < count; index++) {
    const path = utf8Decode(reader.bytes(reader.u16le('pathLength'), 'path'))
    places.set(path, reader.offset)
    reader.bytes(FIXED_BYTES, 'record')
  }
  reader.end()
  return places
}

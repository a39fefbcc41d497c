import { createHash } from 'node:crypto'
import { Reader, utf8Decode, Writer } from '@keyturn/primitives'
import type { FileSystem } from '@keyturn/primitives/node'
import { type FileIdentity, readSmallFile, sameIdentity, writeSmallFile } from './disk.ts'

// offset size field                                docs/spec/launcher.md §3.2
//  0     4    magic "KTHC"
//  4     1    version 1
//  5     3    zero
//  8     4    entry count n
// 12     ..   n × { path length u16, path UTF-8, size u64, mtime ns u64, ctime ns u64, inode u64, SHA-256 (32) }
//  end   32   SHA-256 of all before it
const magic = new TextEncoder().encode('KTHC')
const maxCacheBytes = 256 * 1024 * 1024
const maxEntries = 1_000_000

interface Entry { readonly identity: FileIdentity; readonly sha256: string }

/**
 * Remembers hashes of installed files by size, times and inode, so that an unchanged install is checked without reading
 * it. A convenience for planning and starting only: `repair` and full verification never ask it.
 */
export class HashCache {
  readonly #entries: Map<string, Entry>
  #changed = false

  constructor(entries: Map<string, Entry> = new Map()) {
    this.#entries = entries
  }

  /** Files remembered. */
  get size(): number {
    return this.#entries.size
  }

  /** The hash of a file, if it was hashed with this very identity. */
  get(path: string, identity: FileIdentity): string | undefined {
    const entry = this.#entries.get(path)
    return entry !== undefined && sameIdentity(identity, entry.identity) ? entry.sha256 : undefined
  }

  /** Remembers a hash. */
  set(path: string, identity: FileIdentity, sha256: string): void {
    this.#entries.set(path, { identity, sha256 })
    this.#changed = true
  }

  /** Forgets a file. */
  delete(path: string): void {
    this.#changed = this.#entries.delete(path) || this.#changed
  }

  /** Forgets what is not in `paths`. */
  keepOnly(paths: ReadonlySet<string>): void {
    for (const path of this.#entries.keys()) if (!paths.has(path)) this.delete(path)
  }

  /** Reads the cache; a damaged one is an empty one. */
  static async load(fs: FileSystem, path: string): Promise<HashCache> {
    try {
      const bytes = await readSmallFile(fs, path, maxCacheBytes)
      return bytes === undefined ? new HashCache() : new HashCache(decode(bytes))
    } catch {
      return new HashCache() // nothing is lost but time
    }
  }

  /** Writes the cache if it changed. */
  async save(fs: FileSystem, path: string): Promise<void> {
    if (!this.#changed) return
    await writeSmallFile(fs, path, encode(this.#entries))
    this.#changed = false
  }
}

function encode(entries: ReadonlyMap<string, Entry>): Uint8Array {
  const writer = new Writer(entries.size * 160).bytes(magic).u8(1).zeros(3).u32le(entries.size)
  const encoder = new TextEncoder()
  for (const [path, { identity, sha256 }] of entries) {
    const name = encoder.encode(path)
    writer.u16le(name.length).bytes(name).u64le(identity.size)
    writer.u64le(identity.mtimeNs).u64le(identity.ctimeNs).u64le(identity.inode).bytes(Buffer.from(sha256, 'hex'))
  }
  const body = writer.finish()
  return Buffer.concat([body, createHash('sha256').update(body).digest()])
}

function decode(bytes: Uint8Array): Map<string, Entry> {
  const body = bytes.subarray(0, -32)
  if (!createHash('sha256').update(body).digest().equals(bytes.subarray(-32))) return new Map()
  const reader = new Reader(body)
  reader.expect(magic, 'magic')
  reader.u8('version', { min: 1, max: 1 })
  reader.zeros(3, 'zero')
  const count = reader.u32le('entryCount', { max: maxEntries })
  const entries = new Map<string, Entry>()
  for (let index = 0; index < count; index++) {
    const path = utf8Decode(reader.bytes(reader.u16le('pathLength'), 'path'))
    const size = reader.size64le('size')
    const identity = { size, mtimeNs: reader.u64le('mtime'), ctimeNs: reader.u64le('ctime'), inode: reader.u64le('inode') }
    entries.set(path, { identity, sha256: Buffer.from(reader.bytes(32, 'sha256')).toString('hex') })
  }
  reader.end()
  return entries
}

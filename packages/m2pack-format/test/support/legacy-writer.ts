import { xchacha20 } from '@noble/ciphers/chacha.js'
import { createCipheriv } from 'node:crypto'
import { crc32, zstdCompressSync } from 'node:zlib'

// A writer of the older formats that shares no code with the importers: Camellia is OpenSSL's, LZO plain literals.

export const PCK_KEY = Buffer.from('00112233445566778899aabbccddeeff0123456789abcdeffedcba9876543210', 'hex')

export interface PckFile {
  name: string
  content: Uint8Array
  encrypted: boolean
}

function field(text: string, length: number): Buffer {
  const bytes = Buffer.alloc(length)
  Buffer.from(text, 'utf8').copy(bytes)
  return bytes
}

function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt(value))
  return bytes
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value >>> 0)
  return bytes
}

const camellia = (key: Uint8Array, iv: Uint8Array, bytes: Uint8Array): Buffer => {
  const cipher = createCipheriv('camellia-256-ctr', key, iv)
  return Buffer.concat([cipher.update(bytes), cipher.final()])
}

/** Writes a `.pck` of either variant. */
export function writePck(
  files: readonly PckFile[],
  variant: 'xchacha20' | 'camellia',
  key: Uint8Array = PCK_KEY,
): Buffer {
  const ivBytes = variant === 'xchacha20' ? 24 : 16
  const cipher = (iv: Uint8Array, bytes: Uint8Array): Uint8Array =>
    variant === 'xchacha20' ? xchacha20(key, iv, bytes) : camellia(key, iv, bytes)
  const iv = Buffer.alloc(ivBytes, 0x5a)
  const payloads: Buffer[] = []
  let offset = 0
  const records = files.map(({ name, content, encrypted }, index) => {
    const fileIv = Buffer.alloc(ivBytes, index + 1)
    const frame = zstdCompressSync(content)
    const stored = Buffer.from(encrypted ? cipher(fileIv, frame) : frame)
    payloads.push(stored)
    const record = Buffer.concat([
      field(name, 261),
      u64(offset),
      u64(content.length),
      u64(stored.length),
      Buffer.from([encrypted ? 1 : 0]),
      fileIv,
    ])
    offset += stored.length
    return record
  })
  const table =
    variant === 'xchacha20'
      ? Buffer.concat(records.map((record) => cipher(iv, record)))
      : Buffer.from(cipher(iv, Buffer.concat(records)))
  const start = 16 + ivBytes + table.length
  return Buffer.concat([u64(files.length), u64(start), iv, table, ...payloads])
}

/** XTEA as its authors published it, encryption. */
function encryptXtea(bytes: Buffer, key: readonly number[]): Buffer {
  const out = Buffer.from(bytes)
  for (let at = 0; at + 8 <= out.length; at += 8) {
    let v0 = out.readUInt32LE(at)
    let v1 = out.readUInt32LE(at + 4)
    let sum = 0
    for (let round = 0; round < 32; round++) {
      v0 = (v0 + ((((v1 << 4) ^ (v1 >>> 5)) + v1) ^ (sum + key[sum & 3]!))) >>> 0
      sum = (sum + 0x9e3779b9) >>> 0
      v1 = (v1 + ((((v0 << 4) ^ (v0 >>> 5)) + v0) ^ (sum + key[(sum >>> 11) & 3]!))) >>> 0
    }
    out.writeUInt32LE(v0, at)
    out.writeUInt32LE(v1, at + 4)
  }
  return out
}

/** An LZO1X stream of literals alone. */
function literalLzo(bytes: Uint8Array): Buffer {
  const head =
    bytes.length <= 238
      ? [bytes.length + 17]
      : [0, ...Array<number>(Math.floor((bytes.length - 19) / 255)).fill(0), ((bytes.length - 19) % 255) + 1]
  return Buffer.concat([Buffer.from(head), bytes, Buffer.from([17, 0, 0])])
}

export const INDEX_KEY = [45129401, 92367215, 681285731, 1710201]
export const CONTENT_KEY = [78952482, 527348324, 1632942, 486274726]

/** Packs bytes as an `MCOZ` object. */
export function writeObject(content: Uint8Array, key: readonly number[] | undefined): Buffer {
  const lzo = literalLzo(content)
  const inner = Buffer.concat([Buffer.from('MCOZ'), lzo])
  if (key === undefined)
    return Buffer.concat([Buffer.from('MCOZ'), u32(0), u32(lzo.length), u32(content.length), inner])
  const padded = Buffer.concat([inner, Buffer.alloc((8 - (inner.length % 8)) % 8)])
  return Buffer.concat([
    Buffer.from('MCOZ'),
    u32(padded.length),
    u32(lzo.length),
    u32(content.length),
    encryptXtea(padded, key),
  ])
}

export interface EterFile {
  name: string
  content: Uint8Array
  type: number
  free?: boolean
}

/** Writes `.eix` and `.epk`. */
export function writeEterPack(files: readonly EterFile[], packedIndex: boolean): { index: Buffer; contents: Buffer } {
  const blocks: Buffer[] = []
  let position = 0
  const records = files.map(({ name, content, type, free }, id) => {
    const stored =
      type === 1
        ? writeObject(content, undefined)
        : type === 2
          ? writeObject(content, CONTENT_KEY)
          : Buffer.from(content)
    const block = Buffer.concat([stored, Buffer.alloc((256 - (stored.length % 256)) % 256)])
    blocks.push(block)
    const record = Buffer.concat([
      u32(id),
      field(name, 161),
      Buffer.alloc(3),
      u32(free === true ? 0 : crc32(name)),
      u32(block.length),
      u32(stored.length),
      u32(crc32(stored)),
      u32(position),
      Buffer.from([type, 0, 0, 0]),
    ])
    position += block.length
    return record
  })
  const table = Buffer.concat([Buffer.from('EPKD'), u32(2), u32(files.length), ...records])
  return { index: packedIndex ? writeObject(table, INDEX_KEY) : table, contents: Buffer.concat(blocks) }
}

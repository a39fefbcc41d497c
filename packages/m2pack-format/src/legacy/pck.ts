import { xchacha20 } from '@noble/ciphers/chacha.js'
import { hexDecode, Reader } from '@keyturn/primitives'
import { zstd } from '#zstd'
import { checkSource, readExactly } from '../source.ts'
import type { ByteSource } from '../source.ts'
import type { ZstdOptions } from '../zstd-codec.ts'
import { CamelliaCtr } from './camellia.ts'
import { legacyError, legacyPath, legacyReadError } from './legacy-pack.ts'
import type { LegacyFile, LegacyPack } from './legacy-pack.ts'

/** The key in the published source; servers change it. */
const DEFAULT_KEY = '00112233445566778899aabbccddeeff0123456789abcdeffedcba9876543210'
const MAX_ENTRIES = 1_000_000
const MAX_FILE_BYTES = 2 ** 31
const NAME_BYTES = 261

/** Options of {@link openPck}. */
export interface PckOptions extends ZstdOptions {
  /** 32 bytes; default: the key in the published source. */
  readonly key?: Uint8Array
}

/** One of the two variants: they differ in header, record and cipher. */
interface Variant {
  readonly format: 'pck-xchacha20' | 'pck-camellia'
  readonly headerBytes: number
  readonly entryBytes: number
  readonly ivBytes: number
  /** Deciphers the whole table. */
  table(key: Uint8Array, iv: Uint8Array, records: Uint8Array): Uint8Array
  /** Deciphers one payload. */
  payload(key: Uint8Array, iv: Uint8Array, bytes: Uint8Array): Uint8Array
}

const variants: readonly Variant[] = [
  {
    format: 'pck-xchacha20',
    headerBytes: 40,
    entryBytes: 310,
    ivBytes: 24,
    // The keystream starts again for every record, so all are XORed with the same bytes.
    table(key, iv, records) {
      const keystream = xchacha20(key, iv, new Uint8Array(310))
      return records.map((byte, index) => byte ^ (keystream[index % 310] as number))
    },
    payload: (key, iv, bytes) => xchacha20(key, iv, bytes),
  },
  {
    format: 'pck-camellia',
    headerBytes: 32,
    entryBytes: 302,
    ivBytes: 16,
    // Here the keystream goes on from record to record.
    table: (key, iv, records) => new CamelliaCtr(key, iv).apply(records),
    payload: (key, iv, bytes) => new CamelliaCtr(key, iv).apply(bytes),
  },
]

/**
 * Opens a `.pck` of PackLib, of the current variant (XChaCha20) or the older one (Camellia).
 *
 * @throws {@link M2pError} `M2P_LEGACY`, `M2P_TRUNCATED`.
 */
export async function openPck(source: ByteSource, options: PckOptions = {}): Promise<LegacyPack> {
  checkSource(source)
  const key = options.key ?? hexDecode(DEFAULT_KEY)
  if (key.length !== 32) throw new TypeError('The key of a .pck must be 32 bytes')
  const reader = new Reader(await readExactly(source, 0, Math.min(40, source.size), 'header'), legacyReadError)
  const count = reader.size64le('entry_num', { max: MAX_ENTRIES })
  const start = reader.size64le('data_begin')
  const variant = variants.find(({ headerBytes, entryBytes }) => headerBytes + entryBytes * count === start)
  if (variant === undefined || start > source.size)
    legacyError('The file is no .pck: its table does not end where its data begins')
  const iv = Uint8Array.from(reader.bytes(variant.ivBytes, 'nonce'))
  const table = variant.table(
    key,
    iv,
    await readExactly(source, variant.headerBytes, variant.entryBytes * count, 'table'),
  )
  await zstd.ready(options.zstd)
  const files = Array.from({ length: count }, (_, index) =>
    readEntry(table.subarray(index * variant.entryBytes, (index + 1) * variant.entryBytes), {
      source,
      start,
      variant,
      key,
    }),
  )
  return { format: variant.format, files }
}

interface Place {
  readonly source: ByteSource
  readonly start: number
  readonly variant: Variant
  readonly key: Uint8Array
}

function readEntry(record: Uint8Array, { source, start, variant, key }: Place): LegacyFile {
  const reader = new Reader(record, legacyReadError)
  const path = legacyPath(reader.bytes(NAME_BYTES, 'file_name'))
  const offset = reader.size64le('offset')
  const size = reader.size64le('file_size', { max: MAX_FILE_BYTES })
  const stored = reader.size64le('compressed_size', { max: MAX_FILE_BYTES })
  const encryption = reader.u8('encryption', { max: 1 })
  const iv = Uint8Array.from(reader.bytes(variant.ivBytes, 'nonce'))
  if (start + offset + stored > source.size) legacyError(`File "${path}" of the pack ends beyond the pack`)
  return {
    path,
    size,
    storage: encryption === 1 ? 'zstd, encrypted' : 'zstd',
    read: async () => {
      const bytes = await readExactly(source, start + offset, stored, path)
      return unpack(encryption === 1 ? variant.payload(key, iv, bytes) : bytes, size, path)
    },
  }
}

function unpack(frame: Uint8Array, size: number, path: string): Uint8Array {
  if (size === 0) return new Uint8Array(0)
  try {
    const plain = zstd.decompress(frame, size)
    if (plain.length === size) return plain
  } catch (error) {
    legacyError(`File "${path}" of the pack does not decompress: damaged, or another key`, error)
  }
  return legacyError(`File "${path}" of the pack is not as long as it says`)
}

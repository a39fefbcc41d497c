import { Reader, requireBytes, utf8Encode } from '@keyturn/primitives'
import { checkSource, readExactly } from '../source.ts'
import type { ByteSource } from '../source.ts'
import { crc32 } from './crc32.ts'
import { legacyError, legacyPath, legacyReadError } from './legacy-pack.ts'
import type { LegacyFile, LegacyPack } from './legacy-pack.ts'
import { decompressLzo } from './lzo.ts'
import { decryptXtea } from './xtea.ts'
import type { XteaKey } from './xtea.ts'

const INDEX_KEY: XteaKey = [45129401, 92367215, 681285731, 1710201]
const CONTENT_KEY: XteaKey = [78952482, 527348324, 1632942, 486274726]
const EPKD = utf8Encode('EPKD')
const MCOZ = utf8Encode('MCOZ')
const OBJECT_HEADER_BYTES = 16
const MAX_ENTRIES = 1_000_000
const MAX_FILE_BYTES = 2 ** 30
/** Bytes of a record: with a CRC-32 of the stored bytes, or with an MD5 in its place. */
const RECORD_BYTES = [192, 204] as const

/** What the types that cannot be read from the file alone are. */
const REFUSED = new Map([
  [3, 'type 3 (Panama): its key comes from the game server'],
  [4, 'type 4 (hybrid): its key comes from the game server'],
  [5, 'type 5 (hybrid with a server block): its key comes from the game server'],
  [6, 'type 6 (Snappy): of another fork'],
])
const STORAGE = ['raw', 'LZO', 'LZO, XTEA'] as const

function startsWith(bytes: Uint8Array, tag: Uint8Array): boolean {
  return tag.every((byte, index) => bytes[index] === byte)
}

/** Opens an `MCOZ` object: LZO1X data, encrypted or not. */
function openObject(object: Uint8Array, key: XteaKey): Uint8Array {
  const reader = new Reader(object, legacyReadError)
  reader.expect(MCOZ, 'fourcc')
  const encryptedSize = reader.u32le('encrypted size')
  const compressedSize = reader.u32le('compressed size')
  const size = reader.u32le('real size', { max: MAX_FILE_BYTES })
  const end = OBJECT_HEADER_BYTES + (encryptedSize === 0 ? 4 + compressedSize : encryptedSize)
  if (end > object.length) legacyError('A packed object is cut')
  const inner = object.subarray(OBJECT_HEADER_BYTES, end)
  const opened = encryptedSize === 0 ? inner : decryptXtea(inner, key)
  if (!startsWith(opened, MCOZ)) legacyError('A packed object does not open: damaged, or another key')
  if (4 + compressedSize > opened.length) legacyError('A packed object is cut')
  return decompressLzo(opened.subarray(4, 4 + compressedSize), size)
}

/**
 * Opens an EterPack: `.eix` (index) and `.epk` (contents). Types 0, 1 and 2 can be read; 3 to 6 are named and refused.
 *
 * @param index - The whole `.eix`.
 * @param contents - The `.epk`.
 * @throws {@link M2pError} `M2P_LEGACY`.
 */
export async function openEterPack(index: Uint8Array, contents: ByteSource): Promise<LegacyPack> {
  requireBytes(index, 'index')
  checkSource(contents, 'contents')
  const table = startsWith(index, EPKD) ? index : openObject(index, INDEX_KEY)
  const reader = new Reader(table, legacyReadError)
  reader.expect(EPKD, 'fourcc')
  const version = reader.u32le('version')
  if (version !== 2) legacyError(`The index has version ${version}, wanted 2`)
  const count = reader.u32le('count', { max: MAX_ENTRIES })
  const recordBytes =
    RECORD_BYTES.find((bytes) => bytes * count === reader.remaining) ??
    legacyError('The index is not as long as its records')
  const files: LegacyFile[] = []
  for (let entry = 0; entry < count; entry++) {
    const file = readRecord(reader.bytes(recordBytes, 'record'), contents)
    if (file !== undefined) files.push(file)
  }
  return { format: 'eterpack', files }
}

/** A file, or `undefined` for a slot that is free. */
function readRecord(record: Uint8Array, contents: ByteSource): LegacyFile | undefined {
  const reader = new Reader(record, legacyReadError)
  const md5 = record.length === 204
  reader.u32le('id')
  const name = reader.bytes(164, 'filename').subarray(0, 161)
  if (reader.u32le('filename_crc') === 0) return undefined
  reader.u32le('real_data_size')
  const size = reader.u32le('data_size', { max: MAX_FILE_BYTES })
  const check = md5 ? undefined : reader.u32le('data_crc')
  if (md5) reader.bytes(16, 'data_md5')
  const position = reader.u32le('data_position')
  const type = reader.u8('type')
  const path = legacyPath(name)
  const refusal = type <= 2 ? undefined : (REFUSED.get(type) ?? `type ${type} is unknown`)
  return {
    path,
    size,
    storage: STORAGE[type] ?? (refusal as string),
    ...(refusal === undefined ? {} : { refusal }),
    read: async () => {
      if (refusal !== undefined) legacyError(`File "${path}" cannot be imported: ${refusal}`)
      const stored = await readExactly(contents, position, size, path)
      if (type === 2 && check !== undefined && crc32(stored) !== check)
        legacyError(`File "${path}" does not have the CRC-32 that the index names`)
      return type === 0 ? Uint8Array.from(stored) : openObject(stored, CONTENT_KEY)
    },
  }
}

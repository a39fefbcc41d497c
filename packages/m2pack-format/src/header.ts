import { Reader, Writer, utf8Encode } from '@keyturn/primitives'
import type { ReadErrorFactory, ReadProblem } from '@keyturn/primitives'
import { M2pError } from './errors.ts'
import type { M2pErrorCode } from './errors.ts'
import { HEADER_BYTES, PREAMBLE_BYTES } from './limits.ts'
import type { ArchiveLimits } from './limits.ts'
import { FORMAT_VERSIONS, isFormatVersion } from './version.ts'
import type { FormatVersion } from './version.ts'

/** The 128 bytes an archive starts with. */
export interface ArchiveHeader {
  /** Version of the format. */
  readonly version: FormatVersion
  /** Which content key and verifier belong to the archive; 1 to 2^32 - 1. */
  readonly keyId: number
  /** Where the manifest starts. */
  readonly manifestOffset: number
  /** How long it is. */
  readonly manifestSize: number
  /** BLAKE2b-256 of the manifest bytes. */
  readonly manifestHash: Uint8Array
  /** Ed25519 over the manifest bytes, 64 bytes. */
  readonly signature: Uint8Array
}

/** `M2PACK2` and a zero byte. */
export const MAGIC: Uint8Array = utf8Encode('M2PACK2\0')

const CODES: Readonly<Record<ReadProblem['code'], M2pErrorCode>> = {
  PRIM_TRUNCATED: 'M2P_TRUNCATED',
  PRIM_TRAILING: 'M2P_TRAILING',
  PRIM_VALUE: 'M2P_HEADER',
  PRIM_LIMIT: 'M2P_LIMIT',
}

/** Reports what a Reader of header or preamble finds as an error of this package. */
export const headerError: ReadErrorFactory = ({ code, field, offset, message }) =>
  new M2pError(field === 'magic' && code === 'PRIM_VALUE' ? 'M2P_MAGIC' : CODES[code], message, {
    details: { field, offset },
  })

/**
 * Reads the header, in the order of docs/spec/m2pack.md §5: magic, version, bounds. Nothing of it is trusted yet.
 *
 * @param bytes - The first bytes of the archive, 128 where there are as many.
 * @param archiveSize - Size of the whole archive; `undefined` when only header and manifest are there.
 * @throws {@link M2pError} `M2P_TRUNCATED`, `M2P_MAGIC`, `M2P_VERSION`, `M2P_HEADER`, `M2P_LIMIT`.
 */
export function parseHeader(
  bytes: Uint8Array,
  archiveSize: number | undefined,
  limits: Pick<ArchiveLimits, 'manifestBytes'>,
): ArchiveHeader {
  // offset  size  field                docs/spec/m2pack.md §2
  //  0      8     magic
  //  8      4     version
  //  12     4     key_id
  //  16     8     manifest_offset
  //  24     8     manifest_size
  //  32     32    manifest_hash
  //  64     64    signature
  const reader = new Reader(bytes.subarray(0, HEADER_BYTES), headerError)
  reader.expect(MAGIC, 'magic')
  const version = reader.u32le('version')
  if (!isFormatVersion(version)) {
    const known = FORMAT_VERSIONS.join(' or ')
    throw new M2pError('M2P_VERSION', `Cannot read archive: it has format version ${version}, expected ${known}`)
  }
  const keyId = reader.u32le('key_id', { min: 1 })
  const manifestOffset = reader.size64le('manifest_offset', { min: HEADER_BYTES })
  const manifestSize = reader.size64le('manifest_size', { min: PREAMBLE_BYTES, max: limits.manifestBytes })
  const manifestHash = Uint8Array.from(reader.bytes(32, 'manifest_hash'))
  const signature = Uint8Array.from(reader.bytes(64, 'signature'))
  if (archiveSize !== undefined && manifestOffset + manifestSize > archiveSize) {
    throw new M2pError(
      'M2P_TRUNCATED',
      `Cannot read manifest: it ends at byte ${manifestOffset + manifestSize}, the archive has ${archiveSize}`,
      { details: { field: 'manifest', offset: manifestOffset } },
    )
  }
  return { version, keyId, manifestOffset, manifestSize, manifestHash, signature }
}

/** Writes the 128 bytes of a header. */
export function writeHeader(header: ArchiveHeader): Uint8Array<ArrayBuffer> {
  return new Writer(HEADER_BYTES)
    .bytes(MAGIC)
    .u32le(header.version)
    .u32le(header.keyId)
    .u64le(header.manifestOffset)
    .u64le(header.manifestSize)
    .bytes(header.manifestHash)
    .bytes(header.signature)
    .finish()
}

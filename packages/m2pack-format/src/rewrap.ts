import { blake2b256, requireMembers } from '@keyturn/primitives'
import type { Archive } from './archive.ts'
import { M2pError } from './errors.ts'
import { signedHeader } from './finish.ts'
import { HEADER_BYTES } from './limits.ts'
import { checkKeys, keyCommitment, wrapSlot } from './keys.ts'
import type { ContentKey } from './keys.ts'
import { writeManifest } from './manifest.ts'
import { checkSink, readExactly } from './source.ts'
import type { ByteSink } from './source.ts'

/** Options of {@link rewrapArchive}. */
export interface RewrapOptions {
  /** The new content key; its key_id must be new. */
  readonly contentKey: ContentKey
  /** Ed25519 seed of the archive signing key, 32 bytes, secret. */
  readonly signingSeed: Uint8Array
  /** Encrypts the entry table under the new key; default: a table that was sealed gets open. */
  readonly sealTable?: boolean | undefined
  /** Stops between two pieces, with the signal's reason. */
  readonly signal?: AbortSignal | undefined
}

/** What a rewrap made. */
export interface RewrapResult {
  readonly previousKeyId: number
  readonly keyId: number
  readonly files: number
  readonly archiveBytes: number
  /** Bytes that differ at most: 136, and 72 for each slot; a sealed table differs as a whole. */
  readonly changedBytesAtMost: number
  readonly manifestHash: Uint8Array
}

/** The parts of an archive that a rotation of the content key changes. Everything else stays where and as it is. */
export interface RewrappedParts {
  readonly header: Uint8Array
  readonly manifest: Uint8Array
  readonly manifestOffset: number
  readonly result: RewrapResult
}

const COPY_BYTES = 4 * 1024 * 1024

/**
 * Makes header and manifest of an archive under another content key.
 *
 * @param archive - Opened with its verifier and its present content key.
 */
export function rewrapParts(archive: Archive, options: RewrapOptions): RewrappedParts {
  requireMembers(archive, 'archive', ['header', 'source'])
  checkKeys(options)
  const { contentKey, signingSeed, sealTable = false } = options
  if (contentKey.keyId === archive.keyId)
    throw new RangeError(`key_id ${contentKey.keyId} is the one the archive has already`)
  const secrets = archive.slotSecrets()
  if (secrets.size !== archive.slotNumbers.length) throw new TypeError('The archive was opened without its content key')
  const slots = archive.slotNumbers.map((number) => wrapSlot(contentKey, number, secrets.get(number) as Uint8Array))
  const head = {
    keyId: contentKey.keyId,
    ...archive.format,
    commitment: keyCommitment(contentKey),
    slots,
    sealed: sealTable,
  }
  const manifest = writeManifest(head, archive.entries, contentKey)
  const { manifestOffset } = archive.header
  if (manifest.length !== archive.manifestBytes.length && archive.entries.some(({ offset }) => offset > manifestOffset))
    throw new M2pError('M2P_TOC', 'Cannot seal or open the table: payloads follow it')
  const end = archive.entries.reduce(
    (last, entry) => Math.max(last, entry.offset + entry.storedSize),
    manifestOffset + manifest.length,
  )
  return {
    header: signedHeader({ version: archive.version, keyId: contentKey.keyId, manifestOffset }, manifest, signingSeed),
    manifest,
    manifestOffset,
    result: {
      previousKeyId: archive.keyId,
      keyId: contentKey.keyId,
      files: archive.entries.length,
      archiveBytes: end,
      changedBytesAtMost: sealTable || archive.sealed ? HEADER_BYTES + manifest.length : 136 + 72 * slots.length,
      manifestHash: blake2b256(manifest),
    },
  }
}

/**
 * Rotates the content key of an archive without touching a payload: only header, commitment and slots differ, so those
 * who have the archive download next to nothing.
 *
 * @param archive - Opened with its verifier and its present content key.
 */
export async function rewrapArchive(archive: Archive, sink: ByteSink, options: RewrapOptions): Promise<RewrapResult> {
  checkSink(sink)
  const { header, manifest, manifestOffset, result } = rewrapParts(archive, options)
  await copyRange(archive, sink, { start: HEADER_BYTES, end: manifestOffset }, options.signal)
  await sink.write(manifest, manifestOffset)
  await copyRange(archive, sink, { start: manifestOffset + manifest.length, end: result.archiveBytes }, options.signal)
  await sink.write(header, 0)
  return result
}

async function copyRange(
  archive: Archive,
  sink: ByteSink,
  { start, end }: { readonly start: number; readonly end: number },
  signal: AbortSignal | undefined,
): Promise<void> {
  for (let offset = start; offset < end; offset += COPY_BYTES) {
    signal?.throwIfAborted()
    const length = Math.min(COPY_BYTES, end - offset)
    await sink.write(await readExactly(archive.source, offset, length, 'payload'), offset)
  }
}

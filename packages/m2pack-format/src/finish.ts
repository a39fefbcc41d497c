import { blake2b256, ed25519Sign } from '@keyturn/primitives'
import type { BuildKeys, ResolvedFormat, WriterSlots } from './build-plan.ts'
import { segmentAt, segmentTotal } from './entries.ts'
import type { EntryRecord } from './entries.ts'
import { M2pError } from './errors.ts'
import { writeHeader } from './header.ts'
import type { ArchiveHeader } from './header.ts'
import { keyCommitment, wrapSlot } from './keys.ts'
import { MAX_SLOTS } from './limits.ts'
import { writeManifest } from './manifest.ts'
import type { BuildResult } from './build-result.ts'

/** Manifest and header for payloads that end at `offset`. */
export interface FinishedArchive {
  readonly manifest: Uint8Array
  readonly header: Uint8Array
  readonly result: Omit<BuildResult, 'originalBytes' | 'carriedFiles' | 'keptFiles'>
}

/** How an archive that is being finished was written. */
export interface FinishForm extends Pick<ResolvedFormat, 'version' | 'segmentSize' | 'align' | 'mtimes'> {
  readonly slots: WriterSlots
}

/** Makes manifest and header for sealed files. */
export function finishArchive(
  records: readonly EntryRecord[],
  offset: number,
  keys: BuildKeys & { readonly sealTable?: boolean | undefined },
  { version, segmentSize, align, mtimes, slots }: FinishForm,
): FinishedArchive {
  const { contentKey, signingSeed, sealTable } = keys
  const used = [...new Set(records.map((record) => record.slot))].sort((left, right) => left - right)
  if (used.length > MAX_SLOTS)
    throw new M2pError('M2P_LIMIT', `The archive would carry ${used.length} slots, at most ${MAX_SLOTS} are allowed`)
  const manifest = writeManifest(
    {
      keyId: contentKey.keyId,
      version,
      segmentSize,
      align,
      mtimes,
      commitment: keyCommitment(contentKey),
      slots: used.map((number) => wrapSlot(contentKey, number, slots.secrets.get(number) as Uint8Array)),
      sealed: sealTable,
    },
    records,
    contentKey,
  )
  const header = signedHeader({ version, keyId: contentKey.keyId, manifestOffset: offset }, manifest, signingSeed)
  const archiveBytes = offset + manifest.length
  const result = {
    keyId: contentKey.keyId,
    files: records.length,
    storedBytes: records.reduce((sum, record) => sum + storedBytes(record), 0),
    archiveBytes,
    manifestHash: blake2b256(manifest),
    slots: used,
  }
  return { manifest, header, result }
}

function storedBytes(record: EntryRecord): number {
  let total = 0
  for (let index = 0; index < segmentTotal(record); index++) total += segmentAt(record, index).storedSize
  return total
}

/** The header of a manifest. */
export function signedHeader(
  place: Pick<ArchiveHeader, 'version' | 'keyId' | 'manifestOffset'>,
  manifest: Uint8Array,
  signingSeed: Uint8Array,
): Uint8Array {
  return writeHeader({
    ...place,
    manifestSize: manifest.length,
    manifestHash: blake2b256(manifest),
    signature: ed25519Sign(signingSeed, manifest),
  })
}

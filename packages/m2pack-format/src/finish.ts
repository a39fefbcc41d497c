import { blake2b256, ed25519Sign } from '@keyturn/primitives'
import type { BuildKeys, WriterSlots } from './build-plan.ts'
import { SEGMENT_RECORD_BYTES, segmentAt } from './entries.ts'
import type { EntryRecord } from './entries.ts'
import { M2pError } from './errors.ts'
import { writeHeader } from './header.ts'
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

/** Makes manifest and header for sealed files. */
export function finishArchive(
  records: readonly EntryRecord[],
  offset: number,
  keys: BuildKeys & { readonly sealTable?: boolean | undefined },
  { segmentSize, slots }: { readonly segmentSize: number; readonly slots: WriterSlots },
): FinishedArchive {
  const { contentKey, signingSeed, sealTable } = keys
  const used = [...new Set(records.map((record) => record.slot))].sort((left, right) => left - right)
  if (used.length > MAX_SLOTS)
    throw new M2pError('M2P_LIMIT', `The archive would carry ${used.length} slots, at most ${MAX_SLOTS} are allowed`)
  const manifest = writeManifest(
    {
      keyId: contentKey.keyId,
      segmentSize,
      commitment: keyCommitment(contentKey),
      slots: used.map((number) => wrapSlot(contentKey, number, slots.secrets.get(number) as Uint8Array)),
      sealed: sealTable,
    },
    records,
    contentKey,
  )
  const header = signedHeader(contentKey.keyId, offset, manifest, signingSeed)
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
  for (let index = 0; index < record.segments.length / SEGMENT_RECORD_BYTES; index++)
    total += segmentAt(record, index).storedSize
  return total
}

/** The header of a manifest at `manifestOffset`. */
export function signedHeader(
  keyId: number,
  manifestOffset: number,
  manifest: Uint8Array,
  signingSeed: Uint8Array,
): Uint8Array {
  return writeHeader({
    keyId,
    manifestOffset,
    manifestSize: manifest.length,
    manifestHash: blake2b256(manifest),
    signature: ed25519Sign(signingSeed, manifest),
  })
}

import { chunkParamsFor } from '@keyturn/manifest/delta'
import { segmentOffsets } from '@keyturn/m2pack-format'
import type { Archive } from '@keyturn/m2pack-format'
import { openArchiveFile } from '@keyturn/m2pack-format/node'
import type { HomeContentKey } from '../home.ts'
import { describeFile } from './file-facts.ts'
import type { FileFacts } from './file-facts.ts'
import { openOurs } from './own-archives.ts'
import type { TreeFile } from './tree.ts'

/** What a release manifest says about an archive. */
export interface ArchiveFacts extends FileFacts {
  readonly keyId: number
  /** Format version. */
  readonly version: number
}

/** How an archive is described. */
export interface DescribeOptions {
  readonly signal: AbortSignal
  readonly sealed?: { readonly cuts: ReadonlyMap<string, readonly number[]> } | undefined
}

/** Bytes of a manifest before its slots, and of one slot: docs/spec/m2pack.md §2. */
const PREAMBLE_BYTES = 64
const SLOT_BYTES = 76

/**
 * Where the pieces of an archive start: every segment, the manifest, and the entries after its slots. Chunks that end
 * there cost a player only the pieces that changed; a new content key changes header and slots alone.
 *
 * @param archive - Its table must be open.
 * @param ofSlot - Whose files count; default: all.
 */
export function segmentCuts(archive: Archive, ofSlot: (slot: number) => boolean = () => true): number[] {
  const cuts = new Set<number>()
  for (const entry of archive.entries) {
    if (!ofSlot(entry.slot)) continue
    for (const offset of segmentOffsets(entry)) cuts.add(offset)
  }
  const { manifestOffset } = archive.header
  cuts.add(manifestOffset)
  cuts.add(manifestOffset + PREAMBLE_BYTES + archive.slotNumbers.length * SLOT_BYTES)
  return [...cuts].sort((a, b) => a - b)
}

/**
 * Bytes at most of the chunks of an archive that a new content key changes: the one with the header and that of the
 * slots, each with small neighbours that share its chunk.
 *
 * @param path - The archive.
 * @param size - Its bytes.
 */
export async function rotatedBytes(path: string, size: number): Promise<number> {
  const params = chunkParamsFor(size)
  if (params === undefined) return size
  const { archive, close } = await openArchiveFile(path, { verifiers: 'unchecked' })
  try {
    // A sealed table is opened by a rotation, and with it every byte of it changes.
    if (archive.sealed) return Math.min(size, archive.header.manifestSize + 2 * (params.groupBytes + params.minBytes))
    const neighbours = 2 * (params.groupBytes + params.minBytes)
    return (segmentCuts(archive)[0] ?? 0) + PREAMBLE_BYTES + archive.slotNumbers.length * SLOT_BYTES + neighbours
  } finally {
    await close()
  }
}

/**
 * Reads what the release manifest needs to know of an archive, which must be one of this home.
 *
 * @param file - The archive in the release tree.
 * @param contentKeys - Of the home.
 * @param options - What stops it, and where a sealed archive may be cut.
 * @throws {@link PublisherError} `BUILD_FOREIGN_ARCHIVE`, `BUILD_INPUT_CHANGED`.
 */
export async function describeArchive(
  file: TreeFile,
  contentKeys: readonly HomeContentKey[],
  { signal, sealed }: DescribeOptions,
): Promise<ArchiveFacts> {
  const { archive, close } = await openOurs(file.source, file.path, contentKeys)
  try {
    // The pieces of a sealed archive are not to be told apart: only what players have already is cut where it starts.
    const cuts = archive.sealed ? (sealed?.cuts.get(file.path) ?? []) : segmentCuts(archive)
    return { ...(await describeFile(file, cuts, signal)), keyId: archive.keyId, version: archive.version }
  } finally {
    await close()
  }
}

import type { ArchiveEntry } from './entries.ts'
import { M2pError } from './errors.ts'
import type { ArchiveHeader } from './header.ts'
import { HEADER_BYTES, MAX_ALIGN } from './limits.ts'

/** Zeros before a payload. */
export interface Gap {
  readonly offset: number
  readonly length: number
  /** Path of the file whose payload follows. */
  readonly path: string
}

interface Extent {
  readonly offset: number
  readonly end: number
  /** Absent for the manifest. */
  readonly path?: string
}

/** The largest power of two up to 1 MiB that divides `offset`. */
function alignmentOf(offset: number): number {
  let alignment = 1
  while (alignment < MAX_ALIGN && offset % (alignment * 2) === 0) alignment *= 2
  return alignment
}

function extentsInOrder(header: ArchiveHeader, entries: readonly ArchiveEntry[]): Extent[] {
  const extents: Extent[] = entries.map(({ offset, storedSize, path }) => ({
    offset,
    end: offset + storedSize,
    path,
  }))
  extents.push({ offset: header.manifestOffset, end: header.manifestOffset + header.manifestSize })
  const inOrder = extents.every(
    (extent, index) => index === 0 || extent.offset >= (extents[index - 1] as Extent).offset,
  )
  return inOrder ? extents : extents.sort((left, right) => left.offset - right.offset)
}

function checkGap(extent: Extent, previousEnd: number): void {
  if (extent.offset < previousEnd) {
    throw new M2pError(
      'M2P_TOC',
      `Ranges overlap: ${extent.path ?? 'the manifest'} starts at byte ${extent.offset}, before byte ${previousEnd}`,
    )
  }
  const gap = extent.offset - previousEnd
  if (gap > 0 && (extent.path === undefined || gap >= alignmentOf(extent.offset))) {
    throw new M2pError('M2P_TOC', `Bytes ${previousEnd} to ${extent.offset} belong to nothing`)
  }
}

/**
 * Checks that header, payloads and manifest fill the archive to its last byte, in whatever order, but for alignment.
 *
 * @param archiveSize - `undefined` when only header and manifest are there.
 * @returns The gaps; `verify` and `extract` check that they are zero.
 * @throws {@link M2pError} `M2P_TOC`, `M2P_TRUNCATED`, `M2P_TRAILING`.
 */
export function checkLayout(
  header: ArchiveHeader,
  entries: readonly ArchiveEntry[],
  archiveSize: number | undefined,
): Gap[] {
  const gaps: Gap[] = []
  let end = HEADER_BYTES
  for (const extent of extentsInOrder(header, entries)) {
    checkGap(extent, end)
    if (extent.offset > end) gaps.push({ offset: end, length: extent.offset - end, path: extent.path as string })
    end = extent.end
    if (!Number.isSafeInteger(end)) throw new M2pError('M2P_TOC', 'A range ends beyond 2^53 - 1')
  }
  if (archiveSize === undefined) return gaps
  if (end > archiveSize) {
    throw new M2pError('M2P_TRUNCATED', `The last range ends at byte ${end}, the archive has ${archiveSize}`, {
      details: { offset: archiveSize },
    })
  }
  if (end < archiveSize) {
    throw new M2pError(
      'M2P_TRAILING',
      `${archiveSize - end} bytes follow the archive, which ends at byte ${end}`,
      { details: { offset: end } },
    )
  }
  return gaps
}

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
  readonly storedSize: number
  /** Absent for the manifest. */
  readonly path?: string
}

/** Next multiple of `align` at or after `offset`. */
export function alignUp(offset: number, align: number): number {
  return Math.ceil(offset / align) * align
}

/** The largest power of two up to 1 MiB that divides `offset`. */
function alignmentOf(offset: number): number {
  let alignment = 1
  while (alignment < MAX_ALIGN && offset % (alignment * 2) === 0) alignment *= 2
  return alignment
}

/** Writers put payloads in the order of entries, then the manifest; a reader accepts any order. */
function* extentsInOrder(header: ArchiveHeader, entries: readonly ArchiveEntry[]): Generator<Extent> {
  const manifest: Extent = { offset: header.manifestOffset, storedSize: header.manifestSize }
  let at = 0
  let isInOrder = true
  for (const { offset } of entries) {
    if (offset < at) isInOrder = false
    at = offset
  }
  if (isInOrder && manifest.offset >= at) {
    yield* entries
    yield manifest
    return
  }
  yield* [...entries, manifest].sort((left, right) => left.offset - right.offset)
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
    end = extent.offset + extent.storedSize
    if (!Number.isSafeInteger(end)) throw new M2pError('M2P_TOC', 'A range ends beyond 2^53 - 1')
  }
  if (archiveSize === undefined) return gaps
  if (end > archiveSize) {
    throw new M2pError('M2P_TRUNCATED', `The last range ends at byte ${end}, the archive has ${archiveSize}`, {
      details: { offset: archiveSize },
    })
  }
  if (end < archiveSize) {
    throw new M2pError('M2P_TRAILING', `${archiveSize - end} bytes follow the archive, which ends at byte ${end}`, {
      details: { offset: end },
    })
  }
  return gaps
}

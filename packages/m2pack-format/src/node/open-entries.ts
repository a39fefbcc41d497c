import { wipe } from '@keyturn/primitives'
import type { Archive } from '../archive.ts'
import { manifestStart } from '../entries.ts'
import type { ArchiveEntry } from '../entries.ts'
import type { Progress } from '../verify.ts'
import type { Crew } from './crew.ts'
import { stopFlag } from './share.ts'
import { OpenShare } from './open-share.ts'
import type { OpenFailure, OpenJob } from './open-share.ts'
import { shareBytes, shareNumbers, SharedProgress, shareSecrets } from './shared.ts'

/** Stored bytes of small files that one thread takes at a time. */
const BATCH_BYTES = 1024 * 1024
const BATCH_FILES = 256

/** Options of {@link openEntries}. */
export interface OpenEntriesOptions {
  readonly crew: Crew
  readonly descriptor: number
  readonly target: OpenJob['target']
  readonly onProgress?: ((progress: Progress) => void) | undefined
  readonly signal?: AbortSignal | undefined
}

/**
 * Pairs of the first file and the one after the last; large ones first, so that no thread is left with one at the end.
 */
function batchesOf(entries: readonly ArchiveEntry[]): number[] {
  const batches: { first: number; behind: number; bytes: number }[] = []
  let first = 0
  let bytes = 0
  for (const [index, entry] of entries.entries()) {
    if (index > first && (bytes + entry.storedSize > BATCH_BYTES || index - first >= BATCH_FILES)) {
      batches.push({ first, behind: index, bytes })
      first = index
      bytes = 0
    }
    bytes += entry.storedSize
  }
  if (first < entries.length) batches.push({ first, behind: entries.length, bytes })
  return batches.sort((left, right) => right.bytes - left.bytes).flatMap((batch) => [batch.first, batch.behind])
}

/** Opens files on all threads: verifies them, or writes them below a folder. */
export async function openEntries(
  archive: Archive,
  entries: readonly ArchiveEntry[],
  options: OpenEntriesOptions,
): Promise<OpenFailure[]> {
  const { crew, descriptor, target, onProgress, signal } = options
  const progress = new SharedProgress()
  const totalBytes = entries.reduce((sum, entry) => sum + entry.size, 0)
  const slots = shareSecrets(archive.slotSecrets())
  const stop = stopFlag()
  const job: OpenJob = {
    kind: 'open',
    descriptor,
    manifest: shareBytes(archive.openedManifest),
    starts: shareNumbers(entries.map(manifestStart)),
    offsets: shareNumbers(entries.map(({ offset }) => offset)),
    batches: shareNumbers(batchesOf(entries)),
    next: new Int32Array(new SharedArrayBuffer(12)),
    form: archive.format,
    slots,
    stop,
    progress: progress.counts,
    target,
  }
  let told = 0
  const tell = (): void => {
    signal?.throwIfAborted()
    if (progress.files === told) return
    told = progress.files
    onProgress?.({ files: told, totalFiles: entries.length, bytes: progress.bytes, totalBytes })
  }
  try {
    return (await crew.run(job, new OpenShare(job, crew.size > 1), stop, tell)).flat()
  } finally {
    wipe(slots.bytes)
  }
}

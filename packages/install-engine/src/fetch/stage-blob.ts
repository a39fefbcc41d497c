import type { FileIdentity } from '../disk/disk.ts'
import type { WantedFile } from '../disk/settled-file.ts'
import { LauncherError, SCANNER_HINT } from '../errors.ts'
import { blobPath, hashError, PartDownload } from './download.ts'
import type { DownloadContext } from './download.ts'
import { PartFile, plainChunks } from './part-file.ts'
import type { Chunk } from './part-file.ts'

/** Fills a part from elsewhere on this disk before anything is fetched. */
export type SeedPart = (part: PartFile) => Promise<void>

/** The pieces of a blob by its index. */
export interface BlobPieces {
  /** Undefined: the blob comes whole, and only the whole is checked. */
  readonly known?: readonly Chunk[] | undefined
  /** Fetches the index of a blob that came whole and is wrong, to find the pieces that are. Absent: it has none. */
  readonly fetch?: (() => Promise<readonly Chunk[] | undefined>) | undefined
}

/** How a blob is fetched in one try. */
interface Try {
  /** Undefined: whole. */
  readonly chunks: readonly Chunk[] | undefined
  readonly seed?: SeedPart | undefined
}

/**
 * Brings a blob into staging: what an earlier run left, then seeds, then the network. Of a file that came whole and
 *   whose
 * hash is wrong, only the wrong pieces come again, from elsewhere first. Where that does not help, or its pieces were
 * right and the whole is not, it comes once more from the start, without seeds (§4.7 row 196).
 */
export async function stageBlob(
  context: DownloadContext,
  blob: WantedFile,
  pieces: BlobPieces = {},
  seed?: SeedPart,
): Promise<FileIdentity> {
  const liars = new Set<string>()
  let wholeTries = pieces.known === undefined ? 2 : 1
  let fetchPieces = pieces.known === undefined ? pieces.fetch : undefined
  for (let next: Try = { chunks: pieces.known, seed: pieces.known === undefined ? undefined : seed }; ;) {
    const found = await tryBlob(context, blob, { ...next, keepsWrong: fetchPieces !== undefined }, liars)
    if ('identity' in found) return found.identity
    if (next.chunks === undefined) wholeTries -= 1
    if (fetchPieces !== undefined && found.isWrong) {
      const chunks = await fetchPieces()
      if (chunks !== undefined) {
        await PartFile.claim({ fs: context.fs, folder: context.staging, sha256: blob.sha256 }, chunks)
        next = { chunks }
        fetchPieces = undefined
        continue
      }
    }
    await PartFile.remove({ fs: context.fs, folder: context.staging, sha256: blob.sha256 })
    fetchPieces = undefined
    if (wholeTries === 0) throw found.error
    next = { chunks: undefined }
    context.meter.wasted(blob.size)
  }
}

/** One try: the staged blob, or why not; what is wrong is left in the part when it is wanted. */
async function tryBlob(
  context: DownloadContext,
  blob: WantedFile,
  { chunks, seed, keepsWrong }: Try & { readonly keepsWrong: boolean },
  liars: Set<string>,
): Promise<{ readonly identity: FileIdentity } | { readonly error: unknown; readonly isWrong: boolean }> {
  const part = await PartFile.open({
    fs: context.fs,
    folder: context.staging,
    blob,
    chunks: chunks ?? plainChunks(blob.size),
    monotonic: context.monotonic,
  })
  const download = new PartDownload(context, part, liars)
  const error = await fill(download, part, seed)
  if (error === undefined) {
    const identity = await finish(context, part, keepsWrong)
    if (identity === 'removed') return { error: removed(blob), isWrong: false }
    if (identity !== undefined) return { identity }
    for (const base of download.senders) {
      liars.add(base)
      context.source.reportLie(base)
    }
    return { error: hashError(blobPath(blob.sha256), blob), isWrong: true }
  }
  if (error instanceof LauncherError && (error.code === 'LA_HASH' || error.code === 'LA_RANGE')) {
    await part.discard()
    return { error, isWrong: false }
  }
  await part.close().catch(() => undefined) // the first error is the one to report
  throw error
}

function removed({ sha256 }: WantedFile): LauncherError {
  return new LauncherError('LA_STAGE_TAMPERED', `Cannot stage "${sha256}": another program deletes it`, {
    details: { sha256 },
    hint: SCANNER_HINT,
  })
}

async function finish(
  context: DownloadContext,
  part: PartFile,
  keepsWrong: boolean,
): Promise<FileIdentity | 'removed' | undefined> {
  try {
    const onBytes = (count: number): void => context.meter.did({ disk: count })
    return await part.finish({ signal: context.signal, onBytes }, keepsWrong)
  } catch (error) {
    await part.close().catch(() => undefined) // the first error is the one to report
    throw error
  }
}

async function fill(download: PartDownload, part: PartFile, seed: SeedPart | undefined): Promise<unknown> {
  try {
    await seed?.(part)
    await download.run()
    return undefined
  } catch (error) {
    return error ?? new Error('An unknown failure')
  }
}

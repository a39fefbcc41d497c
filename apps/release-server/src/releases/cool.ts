import { parseManifest } from '@keyturn/manifest'
import type { ReleaseManifest } from '@keyturn/manifest'
import { collectBytes } from '@keyturn/primitives'
import type { ReleaseView } from '@keyturn/release-client'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import { pinnedByHeads, withLease } from './gc.ts'
import { blobsOf, readManifestBytes, releases as releaseRecords } from './releases.ts'

/** What was stored as chunks. */
export interface CoolReport {
  readonly blobs: number
  /** Bytes of the disk that are free now. */
  readonly bytesFreed: number
  /** Chunks that nothing is made of any more. */
  readonly chunksRemoved: number
}

/** Chunks of a blob that is being stored are younger. */
const YOUNG_MS = 24 * 60 * 60_000
const MAX_INDEX_BYTES = 64 * 1024 * 1024

/**
 * Stores the files of old releases as chunks, where the storage does that: those of the newest releases of each
 * channel, and of what heads offer, stay whole. One run at a time, and none while garbage is collected.
 *
 * @param keepWhole - Newest releases of each channel whose files stay whole, one at least.
 * @throws ServerError `GC_RUNNING`.
 */
export async function coolReleases(
  context: ServerContext,
  keepWhole: number,
  signal?: AbortSignal,
): Promise<CoolReport> {
  const { blobs } = context
  if (blobs.cool === undefined) return { blobs: 0, bytesFreed: 0, chunksRemoved: 0 }
  return await withLease(context, async () => {
    const { whole, old } = await split(context, keepWhole)
    let [count, bytesFreed] = [0, 0]
    for (const [sha256, index] of old) {
      signal?.throwIfAborted()
      if (whole.has(sha256)) continue
      const freed = await coolOne(context, sha256, index)
      if (freed === undefined) continue
      count += 1
      bytesFreed += freed
    }
    const chunksRemoved = (await blobs.sweepChunks?.(context.clock() - YOUNG_MS)) ?? 0
    return { blobs: count, bytesFreed, chunksRemoved }
  })
}

/** Blobs that stay whole, and the indexes of all files of older releases. */
async function split(
  context: ServerContext,
  keepWhole: number,
): Promise<{ whole: Set<string>; old: Map<string, string> }> {
  const heads = await pinnedByHeads(context)
  const views = (await releaseRecords.all(context.metadata)).map(({ value }) => value)
  const newer = new Map<string, number>()
  const [whole, old] = [new Set<string>(), new Map<string, string>()]
  for (const view of views.toSorted((a, b) => b.sequence - a.sequence)) {
    if (view.state === 'retired') continue
    const line = `${view.product}/${view.channel}`
    const rank = newer.get(line) ?? 0
    newer.set(line, rank + 1)
    const manifest = await manifestOf(context, view)
    if (manifest === undefined) continue
    if (rank < Math.max(1, keepWhole) || heads.has(view.sha256)) for (const name of blobsOf(manifest)) whole.add(name)
    else for (const { sha256, index } of manifest.files) if (index !== undefined) old.set(sha256, index.sha256)
  }
  return { whole, old }
}

/** What cannot be read stays as it is; a check of the stores reports it. */
async function manifestOf(context: ServerContext, view: ReleaseView): Promise<ReleaseManifest | undefined> {
  try {
    return parseManifest(await readManifestBytes(context, view))
  } catch (error) {
    context.log.error({ version: view.version, error: String(error) }, 'a manifest could not be read')
    return undefined
  }
}

async function coolOne(context: ServerContext, sha256: string, index: string): Promise<number | undefined> {
  try {
    const recipe = await collectBytes(
      await context.blobs.read(index),
      MAX_INDEX_BYTES,
      () => new ServerError('BLOB_CORRUPT', `The index ${index} is too long`),
    )
    return await context.blobs.cool?.(sha256, recipe)
  } catch (error) {
    context.log.error({ sha256, error: String(error) }, 'a blob could not be stored as chunks')
    return undefined
  }
}

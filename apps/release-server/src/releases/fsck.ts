import { createHash } from 'node:crypto'
import type { JsonObject } from '@keyturn/primitives'
import type { ChannelView, ReleaseView } from '@keyturn/release-client'
import { appendAudit, auditLock, verifyStoredAudit } from '../audit/audit.ts'
import type { Caller } from '../access/caller.ts'
import type { ServerContext } from '../context.ts'
import { parseManifest } from '@keyturn/manifest'
import { blobsOf, readManifestBytes, readRelease } from './releases.ts'

/** What a check of the stores found. */
export interface CheckReport {
  readonly blobs: number
  readonly bytes: number
  /** Blobs whose bytes do not have their hash; they were set aside. */
  readonly damaged: readonly string[]
  /** Recorded blobs whose bytes are gone; they are no longer recorded, so the next publish uploads them. */
  readonly lost: readonly string[]
  /** Blobs that lie in the storage without a record; they were recorded when their hash was right. */
  readonly adopted: readonly string[]
  /** Offered releases that lack blobs now: `product/channel/version: hash`. */
  readonly broken: readonly string[]
  readonly auditEntries: number
}

/** How a check is done. */
export interface CheckOptions {
  /** Read and hash every blob; else only look whether it is there. Default true. */
  readonly hash?: boolean
  /** Bytes read per second at most; default: no limit. */
  readonly bytesPerSecond?: number
  readonly signal?: AbortSignal
}

/** Whether the bytes of a blob have its hash. */
export async function isWhole(context: ServerContext, sha256: string, options: CheckOptions): Promise<boolean> {
  const hash = createHash('sha256')
  for await (const part of await context.blobs.read(sha256)) {
    options.signal?.throwIfAborted()
    hash.update(part)
    if (options.bytesPerSecond !== undefined)
      await new Promise((resolve) => setTimeout(resolve, (part.length / (options.bytesPerSecond ?? 1)) * 1000))
  }
  return hash.digest('hex') === sha256
}

async function recordedNames(context: ServerContext): Promise<Set<string>> {
  const names = new Set<string>()
  for (let after: string | undefined; ;) {
    const page = await context.metadata.list('blobs', { limit: 10_000, ...(after === undefined ? {} : { after }) })
    for (const { key } of page) names.add(key)
    after = page.at(-1)?.key
    if (page.length < 10_000) return names
  }
}

/**
 * Checks the stores against each other and against the hashes, while the server may run: damaged blobs are set aside,
 * lost ones forgotten, unrecorded ones recorded; then whether each offered release still has what it needs.
 */
export async function checkStores(context: ServerContext, options: CheckOptions, caller: Caller): Promise<CheckReport> {
  const recorded = await recordedNames(context)
  const seen = new Set<string>()
  const damaged: string[] = []
  const adopted: string[] = []
  let bytes = 0
  for await (const { sha256, size } of context.blobs.list()) {
    options.signal?.throwIfAborted()
    seen.add(sha256)
    bytes += size
    if (options.hash !== false && !(await isWhole(context, sha256, options))) {
      damaged.push(sha256)
      await setAside(context, sha256, caller)
    } else if (!recorded.has(sha256)) {
      adopted.push(sha256)
      await adopt(context, sha256, size)
    }
  }
  // What was uploaded while we looked is in neither list; only what is gone from the storage counts.
  const lost: string[] = []
  for (const name of recorded) if (!seen.has(name) && (await context.blobs.stat(name)) === undefined) lost.push(name)
  await forget(context, lost)
  const gone = new Set([...damaged, ...lost])
  return {
    blobs: seen.size,
    bytes,
    damaged,
    lost,
    adopted,
    broken: await brokenReleases(context, gone),
    auditEntries: await verifyStoredAudit(context.metadata),
  }
}

/** Sets a damaged blob aside; from then on it counts as missing. */
export async function setAside(context: ServerContext, sha256: string, caller: Caller): Promise<void> {
  await context.metadata.transaction([auditLock, 'blobs'], async (records) => {
    await context.blobs.quarantine(sha256)
    context.tree.forget(sha256)
    await records.delete('blobs', sha256)
    await appendAudit(records, context.clock(), { ...caller, action: 'blob.quarantine', target: sha256 })
  })
  context.log.error({ code: 'BLOB_CORRUPT', sha256 }, 'a stored blob was damaged and set aside')
}

async function adopt(context: ServerContext, sha256: string, size: number): Promise<void> {
  const now = context.clock()
  const value: JsonObject = { size, created_ms: now, touched_ms: now, marked_ms: null }
  await context.metadata.transaction(['blobs'], async (records) => {
    await records.insert('blobs', { key: sha256, value })
  })
}

/** Forgets blobs whose bytes are gone, unless they came back meanwhile: the next publish sends them again. */
export async function forget(context: ServerContext, names: readonly string[]): Promise<void> {
  await context.metadata.transaction(['blobs'], async (records) => {
    for (const name of names) {
      if ((await context.blobs.stat(name)) === undefined) await records.delete('blobs', name)
    }
  })
  for (const name of names) context.tree.forget(name)
}

async function brokenReleases(context: ServerContext, gone: ReadonlySet<string>): Promise<string[]> {
  const broken: string[] = []
  for (const { value } of await context.metadata.list('channels', { limit: 100_000 })) {
    const view = value as unknown as ChannelView
    for (const pin of [view.manifest, view.fallback]) {
      if (pin === null) continue
      const release: ReleaseView = await readRelease(context.metadata, view.product, view.channel, pin.version)
      const name = `${view.product}/${view.channel}/${release.version}`
      const needs = gone.has(release.sha256)
        ? [release.sha256]
        : blobsOf(parseManifest(await readManifestBytes(context, release)))
      broken.push(...needs.filter((hash) => gone.has(hash)).map((hash) => `${name}: ${hash}`))
    }
  }
  return broken
}

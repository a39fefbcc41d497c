import { createHash } from 'node:crypto'
import { appendAudit, AUDIT_LOCK, verifyStoredAudit } from '../audit/audit.ts'
import type { Caller } from '../access/caller.ts'
import type { ServerContext } from '../context.ts'
import { parseManifest } from '@keyturn/manifest'
import { blobs, BLOBS_LOCK } from '../uploads/blobs.ts'
import { channels } from './channels.ts'
import { blobsOf, readManifestBytes, readRelease } from './releases.ts'

/** What a check of the stores found. */
export interface CheckReport {
  readonly blobs: number
  readonly bytes: number
  /** Blobs whose bytes do not match their hash; they were set aside. */
  readonly damaged: readonly string[]
  /** Recorded blobs whose bytes are missing; they are no longer recorded, so the next publish uploads them. */
  readonly lost: readonly string[]
  /** Blobs in the storage without a record; they were recorded if their hash was right. */
  readonly adopted: readonly string[]
  /** Offered releases that lack blobs now: `product/channel/version: hash`. */
  readonly broken: readonly string[]
  readonly auditEntries: number
}

/** How a check is done. */
export interface CheckOptions {
  /** Read and hash every blob; otherwise only check that it exists. Default true. */
  readonly hash?: boolean | undefined
  /** Bytes read per second at most; default: no limit. */
  readonly bytesPerSecond?: number | undefined
  readonly signal?: AbortSignal | undefined
}

/** Whether the bytes of a blob match its hash. */
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
  for await (const page of blobs.pages(context.metadata)) for (const { key } of page) names.add(key)
  return names
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
  // Blobs uploaded while we looked are in neither list; only those missing from the storage count.
  const lost: string[] = []
  for (const name of recorded) if (!seen.has(name) && (await context.blobs.stat(name)) === undefined) lost.push(name)
  await forget(context, lost)
  const missing = new Set([...damaged, ...lost])
  return {
    blobs: seen.size,
    bytes,
    damaged,
    lost,
    adopted,
    broken: await brokenReleases(context, missing),
    auditEntries: await verifyStoredAudit(context.metadata),
  }
}

/** Sets a damaged blob aside; from then on it counts as missing. */
export async function setAside(context: ServerContext, sha256: string, caller: Caller): Promise<void> {
  await context.metadata.transaction([AUDIT_LOCK, BLOBS_LOCK], async (records) => {
    await context.blobs.quarantine(sha256)
    context.tree.forget(sha256)
    await blobs.delete(records, sha256)
    await appendAudit(records, context.clock(), { ...caller, action: 'blob.quarantine', target: sha256 })
  })
  context.log.error({ code: 'BLOB_CORRUPT', sha256 }, 'a stored blob was damaged and set aside')
}

async function adopt(context: ServerContext, sha256: string, size: number): Promise<void> {
  const now = context.clock()
  const value = { size, created_ms: now, touched_ms: now, marked_ms: null }
  await context.metadata.transaction([BLOBS_LOCK], async (records) => {
    await blobs.insert(records, { key: sha256, value })
  })
}

/** Forgets blobs whose bytes are missing, unless they came back in between: the next publish sends them again. */
export async function forget(context: ServerContext, names: readonly string[]): Promise<void> {
  await context.metadata.transaction([BLOBS_LOCK], async (records) => {
    for (const name of names) {
      if ((await context.blobs.stat(name)) === undefined) await blobs.delete(records, name)
    }
  })
  for (const name of names) context.tree.forget(name)
}

async function brokenReleases(context: ServerContext, missing: ReadonlySet<string>): Promise<string[]> {
  const broken: string[] = []
  for (const { value: view } of await channels.all(context.metadata)) {
    for (const pin of [view.manifest, view.fallback, view.preload]) {
      if (pin === null) continue
      const release = await readRelease(context.metadata, view.product, view.channel, pin.version)
      const name = `${view.product}/${view.channel}/${release.version}`
      const needs = missing.has(release.sha256)
        ? [release.sha256]
        : blobsOf(parseManifest(await readManifestBytes(context, release)), pin === view.preload)
      broken.push(...needs.filter((hash) => missing.has(hash)).map((hash) => `${name}: ${hash}`))
    }
  }
  return broken
}

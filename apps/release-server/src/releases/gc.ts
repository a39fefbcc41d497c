import { parseManifest } from '@keyturn/manifest'
import type { GarbageReport, ReleaseView } from '@keyturn/release-client'
import type { Caller } from '../access/caller.ts'
import { appendAudit, AUDIT_LOCK } from '../audit/audit.ts'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import { collection } from '../storage/collection.ts'
import type { Entry } from '../storage/collection.ts'
import { numeric, object } from '../storage/shape.ts'
import { blobs, BLOBS_LOCK } from '../uploads/blobs.ts'
import type { StoredBlob } from '../uploads/blobs.ts'
import { removeBlobs } from '../uploads/remove-blobs.ts'
import { channels } from './channels.ts'
import { blobsOf, putRelease, readManifestBytes, releases as releaseRecords } from './releases.ts'

/** What garbage collection keeps. */
export interface RetentionOptions {
  /** Newest releases kept per channel; default 20. */
  readonly keepReleases?: number | undefined
  /** Everything younger stays; default 7 days. */
  readonly keepYoungerMs?: number | undefined
  /** How long a blob that nobody needs stays, marked, before it is deleted; default 7 days. */
  readonly graceMs?: number | undefined
  /** How long a blob stays after somebody asked for it or uploaded it; default 24 hours. */
  readonly leaseMs?: number | undefined
}

const DAY_MS = 86_400_000
const SWEEP_BATCH = 200
const LEASE_OF_RUN_MS = 60 * 60_000

/** Who runs the collection: one at a time, across all replicas. */
const leases = collection('leases', object<{ readonly until_ms: number }>({ until_ms: numeric }))

interface Kept {
  readonly releases: readonly ReleaseView[]
  readonly retired: readonly ReleaseView[]
  readonly referenced: ReadonlySet<string>
}

/** Hashes that the heads of all channels pin. */
export async function pinnedByHeads(context: ServerContext): Promise<Set<string>> {
  const pinned = new Set<string>()
  for (const { value } of await channels.all(context.metadata)) {
    for (const pointer of [value.manifest, value.fallback, value.preload])
      if (pointer !== null) pinned.add(pointer.sha256)
  }
  return pinned
}

/** Finds out which releases stay, and every blob they need. Anything unreadable stops it: then nothing is certain. */
async function whatStays(context: ServerContext, options: RetentionOptions, now: number): Promise<Kept> {
  const { keepReleases = 20, keepYoungerMs = 7 * DAY_MS } = options
  const releases = (await releaseRecords.all(context.metadata)).map(({ value }) => value)
  if (releases.length === 0)
    throw new ServerError('GC_UNSAFE', 'Cannot tell what is still needed: there are no releases')
  const heads = await pinnedByHeads(context)
  const newer = new Map<string, number>()
  const kept: ReleaseView[] = []
  const retired: ReleaseView[] = []
  for (const release of releases.toSorted((a, b) => b.sequence - a.sequence)) {
    const line = `${release.product}/${release.channel}`
    const rank = newer.get(line) ?? 0
    newer.set(line, rank + 1)
    const young = now - Date.parse(release.published_at ?? release.created_at) < keepYoungerMs
    const stays = rank < keepReleases || young || release.pinned || heads.has(release.sha256)
    if (stays && release.state !== 'retired') kept.push(release)
    else retired.push(release)
  }
  // Manifests stay forever: they are the history, and small.
  const referenced = new Set(releases.map(({ sha256 }) => sha256))
  for (const release of kept) for (const hash of await needsOf(context, release)) referenced.add(hash)
  return { releases: kept, retired, referenced }
}

async function needsOf(context: ServerContext, release: ReleaseView): Promise<string[]> {
  try {
    return blobsOf(parseManifest(await readManifestBytes(context, release)))
  } catch (cause) {
    throw new ServerError(
      'GC_UNSAFE',
      `Cannot tell what release ${release.version} on ${release.channel} needs: its manifest cannot be read`,
      { cause },
    )
  }
}

/** One run at a time, across all replicas; a run that died is taken over after an hour. */
export async function withLease<T>(context: ServerContext, work: () => Promise<T>): Promise<T> {
  const until = context.clock() + LEASE_OF_RUN_MS
  await context.metadata.transaction(['gc'], async (records) => {
    const lease = await leases.get(records, 'gc')
    if (lease !== undefined && lease.until_ms > context.clock())
      throw new ServerError('GC_RUNNING', 'Garbage collection is already running')
    await leases.put(records, { key: 'gc', value: { until_ms: until } })
  })
  try {
    return await work()
  } finally {
    await context.metadata.transaction(['gc'], (records) => leases.delete(records, 'gc'))
  }
}

interface Tally {
  marked: number
  resurrected: number
  deleted: string[]
  bytes: number
}

/** How a collection runs. */
export interface CollectOptions {
  /** Only report what would go if the grace were over. */
  readonly dryRun: boolean
  readonly retention: RetentionOptions
}

/**
 * Collects garbage while the server runs. A blob that no kept release needs, and that nobody asked for in the last day,
 * is marked; after the grace it is deleted, unless somebody wanted it in between. Every deletion is in the audit log.
 *
 * @throws ServerError `GC_UNSAFE`, `GC_RUNNING`.
 */
export async function collectGarbage(
  context: ServerContext,
  { dryRun, retention }: CollectOptions,
  caller: Caller,
): Promise<GarbageReport> {
  return withLease(context, async () => {
    const now = context.clock()
    const kept = await whatStays(context, retention, now)
    const tally: Tally = { marked: 0, resurrected: 0, deleted: [], bytes: 0 }
    for await (const page of blobs.pages(context.metadata))
      await collectPage(context, page, { ...retention, dryRun, now, referenced: kept.referenced }, tally)
    const newlyRetired = kept.retired.filter(({ state }) => state !== 'retired')
    if (!dryRun) await remember(context, newlyRetired, tally, caller)
    return {
      dry_run: dryRun,
      releases_kept: kept.releases.length,
      releases_retired: newlyRetired.map(({ channel, version }) => `${channel}/${version}`),
      blobs_referenced: kept.referenced.size,
      blobs_marked: tally.marked,
      blobs_resurrected: tally.resurrected,
      blobs_deleted: tally.deleted.length,
      bytes_deleted: tally.bytes,
      deleted: tally.deleted.slice(0, 10_000),
    }
  })
}

interface Rules extends RetentionOptions {
  readonly dryRun: boolean
  readonly now: number
  readonly referenced: ReadonlySet<string>
}

async function collectPage(
  context: ServerContext,
  page: readonly Entry<StoredBlob>[],
  rules: Rules,
  tally: Tally,
): Promise<void> {
  const { now, dryRun, referenced, keepYoungerMs = 7 * DAY_MS, leaseMs = DAY_MS, graceMs = 7 * DAY_MS } = rules
  const unneeded = page.filter(
    ({ key, value }) =>
      !referenced.has(key) && now - value.touched_ms > leaseMs && now - value.created_ms > keepYoungerMs,
  )
  const toMark = unneeded.filter(({ value }) => value.marked_ms === null).map(({ key }) => key)
  const toWake = page.filter(({ key, value }) => value.marked_ms !== null && referenced.has(key)).map(({ key }) => key)
  tally.marked += toMark.length
  tally.resurrected += toWake.length
  if (dryRun) {
    for (const { key, value } of unneeded) count(tally, key, value.size)
    return
  }
  await setMarks(context, toMark, now)
  await setMarks(context, toWake, null)
  const toSweep = unneeded
    .filter(({ value }) => value.marked_ms !== null && now - value.marked_ms >= graceMs)
    .map(({ key }) => key)
  for (let start = 0; start < toSweep.length; start += SWEEP_BATCH) {
    const names = toSweep.slice(start, start + SWEEP_BATCH)
    for (const [name, size] of await sweep(context, names, now - graceMs)) count(tally, name, size)
  }
}

function count(tally: Tally, name: string, size: number): void {
  tally.deleted.push(name)
  tally.bytes += size
}

async function setMarks(context: ServerContext, names: readonly string[], marked: number | null): Promise<void> {
  if (names.length === 0) return
  await context.metadata.transaction([BLOBS_LOCK], async (records) => {
    const found = await blobs.getMany(records, names)
    await blobs.put(records, ...found.map(({ key, value }) => ({ key, value: { ...value, marked_ms: marked } })))
  })
}

async function sweep(
  context: ServerContext,
  names: readonly string[],
  markedBefore: number,
): Promise<[string, number][]> {
  return await removeBlobs(context, names, ({ marked_ms: marked }) => marked !== null && marked <= markedBefore)
}

async function remember(
  context: ServerContext,
  retired: readonly ReleaseView[],
  tally: Tally,
  caller: Caller,
): Promise<void> {
  const now = context.clock()
  await context.metadata.transaction([AUDIT_LOCK], async (records) => {
    for (const release of retired) {
      await putRelease(records, { ...release, state: 'retired' })
      await appendAudit(records, now, {
        ...caller,
        action: 'release.retire',
        target: `${release.product}/${release.channel}/${release.version}`,
      })
    }
    for (let start = 0; start < tally.deleted.length; start += 100) {
      const names = tally.deleted.slice(start, start + 100)
      await appendAudit(records, now, {
        ...caller,
        action: 'blob.delete',
        target: `${names.length} blobs`,
        facts: { sha256: names.join(' ') },
      })
    }
    await appendAudit(records, now, {
      ...caller,
      action: 'gc.run',
      target: 'blobs',
      facts: {
        marked: tally.marked,
        deleted: tally.deleted.length,
        bytes: tally.bytes,
        resurrected: tally.resurrected,
      },
    })
  })
}

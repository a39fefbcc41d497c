import { parseManifest } from '@keyturn/manifest'
import type { JsonObject } from '@keyturn/primitives'
import type { ChannelView, GarbageReport, ReleaseView } from '@keyturn/release-client'
import { appendAudit, auditLock } from '../audit/audit.ts'
import { storedBlob } from '../uploads/blobs.ts'
import type { StoredBlob } from '../uploads/blobs.ts'
import type { Caller } from '../access/caller.ts'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import { blobsOf, putRelease, readManifestBytes } from './releases.ts'

/** What garbage collection keeps. */
export interface RetentionOptions {
  /** Newest releases kept per channel; default 20. */
  readonly keepReleases?: number
  /** Whatever is younger stays; default 7 days. */
  readonly keepYoungerMs?: number
  /** How long a blob that nobody needs waits, marked, before it goes; default 7 days. */
  readonly graceMs?: number
  /** How long a blob stays after somebody asked for it or uploaded it; default 24 hours. */
  readonly leaseMs?: number
}

const day = 86_400_000
const pageSize = 5000
const sweepBatch = 200
const leaseOfRunMs = 60 * 60_000

interface Kept {
  readonly releases: readonly ReleaseView[]
  readonly retired: readonly ReleaseView[]
  readonly referenced: ReadonlySet<string>
}

async function allReleases(context: ServerContext): Promise<ReleaseView[]> {
  const found: ReleaseView[] = []
  for (let after: string | undefined; ;) {
    const page = await context.metadata.list('releases', { limit: pageSize, ...(after === undefined ? {} : { after }) })
    for (const { key, value } of page) {
      found.push(value as unknown as ReleaseView)
      after = key
    }
    if (page.length < pageSize) return found
  }
}

/** Hashes that the heads of all channels pin. */
async function pinnedByHeads(context: ServerContext): Promise<Set<string>> {
  const channels = (await context.metadata.list('channels', { limit: 100_000 })).map(
    ({ value }) => value as unknown as ChannelView,
  )
  return new Set(
    channels
      .flatMap(({ manifest, fallback }) => [manifest?.sha256, fallback?.sha256])
      .filter((hash) => hash !== undefined),
  )
}

/** Tells which releases stay, and every blob they need. Anything that cannot be read stops it: then nothing is known. */
async function whatStays(context: ServerContext, options: RetentionOptions, now: number): Promise<Kept> {
  const { keepReleases = 20, keepYoungerMs = 7 * day } = options
  const releases = await allReleases(context)
  if (releases.length === 0)
    throw new ServerError('GC_UNSAFE', 'Cannot tell what is still needed: there is no release at all')
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
  // Manifests stay for ever: they are the history, and small.
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
async function withLease<T>(context: ServerContext, work: () => Promise<T>): Promise<T> {
  const until = context.clock() + leaseOfRunMs
  await context.metadata.transaction(['gc'], async (records) => {
    const lease = (await records.get('leases', 'gc'))?.value as { until_ms: number } | undefined
    if (lease !== undefined && lease.until_ms > context.clock())
      throw new ServerError('GC_RUNNING', 'Garbage collection is already running')
    await records.put('leases', { key: 'gc', value: { until_ms: until } })
  })
  try {
    return await work()
  } finally {
    await context.metadata.transaction(['gc'], (records) => records.delete('leases', 'gc'))
  }
}

interface Tally {
  marked: number
  resurrected: number
  deleted: string[]
  bytes: number
}

/**
 * Collects garbage while the server runs. A blob that no kept release needs, that nobody asked for in the last day, is
 * marked; after the grace it goes, unless somebody wanted it meanwhile. Every deletion is in the audit log.
 *
 * @param dryRun - Only tell what would go if the grace were over.
 * @throws ServerError `GC_UNSAFE`, `GC_RUNNING`.
 */
export async function collectGarbage(
  context: ServerContext,
  dryRun: boolean,
  options: RetentionOptions,
  caller: Caller,
): Promise<GarbageReport> {
  return withLease(context, async () => {
    const now = context.clock()
    const kept = await whatStays(context, options, now)
    const tally: Tally = { marked: 0, resurrected: 0, deleted: [], bytes: 0 }
    for (let after: string | undefined; ;) {
      const page = await context.metadata.list('blobs', { limit: pageSize, ...(after === undefined ? {} : { after }) })
      await judgePage(
        context,
        page.map(({ key, value }) => [key, storedBlob(value)]),
        kept.referenced,
        { ...options, dryRun, now },
        tally,
      )
      after = page.at(-1)?.key
      if (page.length < pageSize) break
    }
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
}

async function judgePage(
  context: ServerContext,
  page: [string, StoredBlob][],
  referenced: ReadonlySet<string>,
  rules: Rules,
  tally: Tally,
): Promise<void> {
  const { now, dryRun, keepYoungerMs = 7 * day, leaseMs = day, graceMs = 7 * day } = rules
  const unneeded = page.filter(
    ([name, blob]) => !referenced.has(name) && now - blob.touched_ms > leaseMs && now - blob.created_ms > keepYoungerMs,
  )
  const toMark = unneeded.filter(([, blob]) => blob.marked_ms === null)
  const toWake = page.filter(([name, blob]) => blob.marked_ms !== null && referenced.has(name))
  const toSweep = unneeded.filter(([, blob]) => blob.marked_ms !== null && now - blob.marked_ms >= graceMs)
  tally.marked += toMark.length
  tally.resurrected += toWake.length
  if (dryRun) {
    for (const [name, blob] of unneeded) count(tally, name, blob.size)
    return
  }
  await setMarks(
    context,
    toMark.map(([name]) => name),
    now,
  )
  await setMarks(
    context,
    toWake.map(([name]) => name),
    null,
  )
  for (let start = 0; start < toSweep.length; start += sweepBatch) {
    const names = toSweep.slice(start, start + sweepBatch).map(([name]) => name)
    for (const [name, size] of await sweep(context, names, now - graceMs)) count(tally, name, size)
  }
}

function count(tally: Tally, name: string, size: number): void {
  tally.deleted.push(name)
  tally.bytes += size
}

async function setMarks(context: ServerContext, names: readonly string[], marked: number | null): Promise<void> {
  if (names.length === 0) return
  await context.metadata.transaction(['blobs'], async (records) => {
    const found = await records.getMany('blobs', names)
    await records.put(
      'blobs',
      ...found.map(({ key, value }) => ({
        key,
        value: { ...storedBlob(value), marked_ms: marked } as unknown as JsonObject,
      })),
    )
  })
}

/**
 * Deletes in two steps, so that a crash between them loses nothing: first the record says "going" (which counts as
 * absent, so an uploader sends the bytes again), then bytes and record go, unless an uploader took the record back.
 */
async function sweep(
  context: ServerContext,
  names: readonly string[],
  markedBefore: number,
): Promise<[string, number][]> {
  const going = await context.metadata.transaction(['blobs'], async (records) => {
    const found = (await records.getMany('blobs', names)).filter(({ value }) => {
      const { marked_ms: marked } = storedBlob(value)
      return marked !== null && marked <= markedBefore
    })
    await records.put(
      'blobs',
      ...found.map(({ key, value }) => ({
        key,
        value: { ...storedBlob(value), going: true } as unknown as JsonObject,
      })),
    )
    return found.map(({ key }) => key)
  })
  return context.metadata.transaction(['blobs'], async (records) => {
    const found = (await records.getMany('blobs', going)).filter(({ value }) => storedBlob(value).going === true)
    for (const { key } of found) {
      await context.blobs.delete(key)
      context.tree.forget(key)
    }
    await records.delete('blobs', ...found.map(({ key }) => key))
    return found.map(({ key, value }): [string, number] => [key, storedBlob(value).size])
  })
}

async function remember(
  context: ServerContext,
  retired: readonly ReleaseView[],
  tally: Tally,
  caller: Caller,
): Promise<void> {
  const now = context.clock()
  await context.metadata.transaction([auditLock], async (records) => {
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

import { join } from 'node:path'
import { parseManifest } from '@keyturn/manifest'
import type { ContentKey, ManifestFile, ReleaseManifest, Requirements } from '@keyturn/manifest'
import { hexEncode } from '@keyturn/primitives'
import { listFolder, look, placeInside, readSmallFile, removeFile } from '../disk/disk.ts'
import { decide } from './commit.ts'
import type { DownloadContext } from '../fetch/download.ts'
import { finalize } from './finalize.ts'
import { Gate } from '../fetch/gate.ts'
import { HashCache } from '../disk/hash-cache.ts'
import { bringInParts } from './low-space.ts'
import { makePlan } from './plan.ts'
import type { Plan } from './plan.ts'
import { preflight } from './preflight.ts'
import type { Session } from '../session.ts'
import { planFetch, stageAll } from './stage.ts'
import type { FetchPlan, Staged } from './stage.ts'
import type { InstallState, ReleaseRef } from '../disk/state-file.ts'
import type { Transaction } from './transaction.ts'
import { wantedFiles } from './wanted-files.ts'

/** A release that was verified and shall lie in the folder. */
export interface TargetRelease {
  readonly ref: ReleaseRef
  readonly manifest: Pick<ReleaseManifest, 'files' | 'components' | 'delete' | 'keep'> & {
    readonly requires?: Requirements
    readonly contentKeys: readonly ContentKey[]
  }
}

/** What bringing the folder to a release came to. */
export interface RunResult {
  readonly state: InstallState
  readonly writtenFiles: number
  readonly removedFiles: number
  readonly keptFiles: readonly string[]
  /** Bytes that came over the network. */
  readonly downloadedBytes: number
  /** Bytes of the whole release, for comparison. */
  readonly releaseBytes: number
}

/** How a run goes about it. */
export interface RunOptions {
  readonly kind: 'update' | 'repair'
  /** Read every byte rather than ask the hash cache. */
  readonly verifyAll: boolean
  /** Stop once it is known what would be done. */
  readonly dryRun?: boolean | undefined
  readonly signal: AbortSignal
}

const maxManifestBytes = 64 * 1024 * 1024

/** Files of the manifest that is installed, as its bytes beside the install say. */
export async function installedFiles(session: Session, state: InstallState): Promise<ManifestFile[]> {
  const files = state.installed === undefined ? [] : await filesOf(session, session.layout.manifest)
  if (state.partial === undefined) return files
  // On the way to another release: what that one brought counts as installed too.
  return [...files, ...(await filesOf(session, join(session.layout.manifests, `${state.partial.sequence}.json`)))]
}

async function filesOf(session: Session, path: string): Promise<ManifestFile[]> {
  const bytes = await readSmallFile(session.options.fs, path, maxManifestBytes)
  if (bytes === undefined) return []
  try {
    return wantedFiles(parseManifest(bytes), session.options)
  } catch {
    return [] // damaged on disk: nothing of it is removed or used, its files are found by their hashes
  }
}

/** What downloads of one run share. */
export function downloads(session: Session, signal: AbortSignal): DownloadContext {
  const { fs, connections, monotonic } = session.options
  return {
    fs,
    staging: session.layout.staging,
    source: session.source,
    limit: session.limit,
    gate: new Gate(connections),
    meter: session.meter,
    monotonic,
    signal,
  }
}

/** Looks at every file and says what has to change. */
async function plan(
  session: Session,
  release: TargetRelease,
  state: InstallState,
  options: RunOptions,
): Promise<{ plan: Plan; installed: ManifestFile[]; cache: HashCache }> {
  const { fs } = session.options
  session.enter('plan')
  const files = wantedFiles(release.manifest, session.options)
  // The very manifest that is installed need not be read again.
  const isInstalled = state.installed?.manifestSha256 === release.ref.manifestSha256 && state.partial === undefined
  const installed = isInstalled ? files : await installedFiles(session, state)
  const cache = await HashCache.load(fs, session.layout.hashCache)
  session.meter.expect({ disk: files.reduce((sum, file) => sum + file.size, 0), files: files.length })
  const made = await makePlan({
    fs,
    layout: session.layout,
    files,
    manifest: release.manifest,
    installedFiles: installed,
    cache: options.verifyAll ? undefined : cache,
    concurrency: 16,
    signal: options.signal,
    onBytes: (count) => session.meter.did({ disk: count }),
    onFile: () => session.meter.did({ files: 1 }),
  })
  await cache.save(fs, session.layout.hashCache)
  return { plan: made, installed, cache }
}

/**
 * Brings the folder to a release: plan, preflight, fetch, stage, commit, swap, prune, finalize. Up to the commit nothing
 * live is touched; from then on the change is finished or undone as a whole.
 */
export async function bringTo(
  session: Session,
  release: TargetRelease,
  state: InstallState,
  options: RunOptions,
): Promise<RunResult> {
  const planned = await plan(session, release, state, options)
  const { writes, removals, kept } = planned.plan
  for (const path of kept) session.emit({ type: 'file', path, action: 'kept' })
  session.enter('preflight')
  const { bytes: changedBytes, isLow } = await preflight(session.options.fs, session.layout, planned.plan, {
    requires: release.manifest.requires,
    lowSpace: session.options.lowSpace === true,
  })
  if (writes.length > 0) session.resetMeter()
  session.enter('fetch')
  const context = downloads(session, options.signal)
  const fetchPlan = await planFetch(context, session.layout, planned.plan, planned.installed)
  const releaseBytes = wantedFiles(release.manifest, session.options).reduce((sum, file) => sum + file.size, 0)
  session.emit({
    type: 'plan',
    plan: {
      version: release.ref.version,
      changedFiles: writes.length,
      removedFiles: removals.length,
      releaseBytes,
      changedBytes,
      downloadBytes: fetchPlan.downloadBytes,
    },
  })
  if (options.dryRun === true) {
    return {
      state,
      writtenFiles: writes.length,
      removedFiles: removals.length,
      keptFiles: kept,
      downloadedBytes: fetchPlan.downloadBytes,
      releaseBytes,
    }
  }
  session.meter.expect({ download: fetchPlan.downloadBytes, disk: changedBytes, files: writes.length })
  const after = isLow
    ? await bringInParts({
        session,
        context,
        release: release.ref,
        state,
        plan: planned.plan,
        installed: planned.installed,
      })
    : await bringWhole(session, context, release, state, options, { plan: planned.plan, fetchPlan })
  await rememberHashes(session, planned.plan, planned.cache)
  await pruneUpdates(session, release, options)
  session.meter.tell()
  return {
    state: after,
    writtenFiles: writes.length,
    removedFiles: removals.length,
    keptFiles: kept,
    downloadedBytes: session.meter.networkBytes,
    releaseBytes,
  }
}

async function bringWhole(
  session: Session,
  context: DownloadContext,
  release: TargetRelease,
  state: InstallState,
  options: RunOptions,
  { plan, fetchPlan }: { plan: Plan; fetchPlan: FetchPlan },
): Promise<InstallState> {
  const staged = await stageAll(context, session.layout, plan, fetchPlan)
  session.enter('stage')
  options.signal.throwIfAborted()
  return await applyStaged(session, release, state, options, staged)
}

/** Puts staged files in place, all or none. */
async function applyStaged(
  session: Session,
  release: TargetRelease,
  state: InstallState,
  options: RunOptions,
  staged: Staged,
): Promise<InstallState> {
  const isSame = state.installed?.manifestSha256 === release.ref.manifestSha256 && state.partial === undefined
  if (
    staged.steps.length === 0 &&
    isSame &&
    !state.suspect &&
    state.installed?.rolesVersion === release.ref.rolesVersion
  )
    return state
  const kind = isSame ? 'repair' : options.kind
  const transaction: Transaction = {
    id: hexEncode(session.options.random(8)),
    kind,
    from: state.partial === undefined ? state.installed : undefined,
    to: release.ref,
    steps: staged.steps,
  }
  await decide(session, transaction, staged)
  session.enter('finalize')
  return await finalize(session.apply, transaction, state, session.options.clock())
}

/** What was just written has a known hash: the next start need not read it. */
async function rememberHashes(session: Session, made: Plan, cache: HashCache): Promise<void> {
  for (const { file } of made.writes) {
    const found = await look(session.options.fs, placeInside(session.layout.root, file.path))
    if (found.kind === 'file') cache.set(file.path, found.identity, file.sha256)
  }
  if (cache.size !== made.writes.length + made.unchanged.length) {
    cache.keepOnly(new Set([...made.writes.map(({ file }) => file.path), ...made.unchanged.map((file) => file.path)]))
  }
  await cache.save(session.options.fs, session.layout.hashCache)
}

/** Removes what only this update needed: staging, old indexes, the backups of a repair. */
async function pruneUpdates(session: Session, release: TargetRelease, options: RunOptions): Promise<void> {
  const { fs } = session.options
  for (const name of await listFolder(fs, session.layout.staging))
    await fs.rm(join(session.layout.staging, name), { recursive: true, force: true })
  const wanted = new Set(release.manifest.files.map((file) => file.index?.sha256))
  for (const name of await listFolder(fs, session.layout.index))
    if (!wanted.has(name)) await removeFile(fs, join(session.layout.index, name))
  options.signal.throwIfAborted()
}

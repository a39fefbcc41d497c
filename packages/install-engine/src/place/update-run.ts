import { join } from 'node:path'
import { allFilesFor, parseManifest } from '@keyturn/manifest'
import type { ContentKey, ManifestFile, ReleaseManifest, Requirements } from '@keyturn/manifest'
import { hexEncode } from '@keyturn/primitives'
import { listFolder, look, placeInside, readSmallFile, removeFile } from '../disk/disk.ts'
import { commit } from './commit.ts'
import type { DownloadContext } from '../fetch/download.ts'
import { finalize } from './finalize.ts'
import { Gate } from '../fetch/gate.ts'
import { HashCache } from '../disk/hash-cache.ts'
import { bringInParts } from './low-space.ts'
import { makePlan } from './plan.ts'
import type { Plan } from './plan.ts'
import { preflight } from './preflight.ts'
import type { PlanSummary } from '../events.ts'
import type { Session } from '../session.ts'
import { planFetch, stageAll } from './stage.ts'
import type { FetchPlan, Staged } from './stage.ts'
import { inTime } from '../in-time.ts'
import type { FileIdentity } from '../disk/disk.ts'
import type { InstallState, ReleaseRef } from '../disk/state-file.ts'
import type { AsideStep, Transaction } from './transaction.ts'
import { keptFiles } from '../disk/kept-manifest.ts'
import { preloadBlobs } from '../disk/preload-record.ts'
import { possibleFiles, wantedFiles } from './wanted-files.ts'

/** A release that was verified and is to be in the folder. */
export interface TargetRelease {
  readonly ref: ReleaseRef
  readonly manifest: Pick<ReleaseManifest, 'files' | 'components' | 'delete' | 'keep'> & {
    readonly requires?: Requirements | undefined
    readonly contentKeys: readonly ContentKey[]
  }
}

/** What bringing the folder to a release came to. */
export interface RunResult {
  readonly state: InstallState
  readonly writtenFiles: number
  readonly removedFiles: number
  readonly keptFiles: readonly string[]
  /** What was the player's own and in the way, with its new name. */
  readonly setAside: readonly AsideStep[]
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
  /** Somebody waits to play: how long lists of pieces are waited for. */
  readonly indexDeadlineMs?: number | undefined
  /** Staged files that this process verified, by their place below `.updates`; added to by the run. */
  readonly verified?: Map<string, FileIdentity> | undefined
  /** A part of the same update came before: nothing is counted or announced again. */
  readonly isAgain?: boolean | undefined
}

/** What is to be done, and nothing of it done. */
export interface Prepared {
  readonly plan: Plan
  readonly installed: readonly ManifestFile[]
  readonly cache: HashCache
  readonly fetchPlan: FetchPlan
  readonly context: DownloadContext
  /** Old and new do not fit on the disk together. */
  readonly isLow: boolean
  readonly result: Omit<RunResult, 'state' | 'downloadedBytes'>
  readonly summary: PlanSummary
}

const MAX_MANIFEST_BYTES = 64 * 1024 * 1024
/** Files that are looked at at a time. */
const PLAN_CONCURRENCY = 16

/** Files of the manifest that is installed, as its bytes beside the install say. */
export async function installedFiles(session: Session, state: InstallState): Promise<ManifestFile[]> {
  const files = state.installed === undefined ? [] : await filesOf(session, session.layout.manifest)
  if (state.partial === undefined) return files
  // On the way to another release: what that one brought counts as installed too.
  const { manifest } = await keptFiles(session.options.fs, session.layout, state.partial)
  return [...files, ...(await filesOf(session, manifest))]
}

async function filesOf(session: Session, path: string): Promise<ManifestFile[]> {
  const bytes = await readSmallFile(session.options.fs, path, MAX_MANIFEST_BYTES)
  if (bytes === undefined) return []
  try {
    return allFilesFor(parseManifest(bytes), session.options.target)
  } catch {
    return [] // damaged on disk: nothing of it is removed or used, its files are found by their hashes
  }
}

/** What downloads of one run share. */
export function downloads(
  session: Session,
  signal: AbortSignal,
  verified?: Map<string, FileIdentity>,
): DownloadContext {
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
    verified,
  }
}

/**
 * One run that brings the folder to a release, in three parts: what is to be done, the download, and the change itself.
 * The download touches nothing but the staging folder and the indexes.
 */
export class UpdateRun {
  readonly #session: Session
  readonly #release: TargetRelease
  readonly #state: InstallState
  readonly #options: RunOptions

  constructor(session: Session, release: TargetRelease, state: InstallState, options: RunOptions) {
    this.#session = session
    this.#release = release
    this.#state = state
    this.#options = options
  }

  /** Whether the release is the one that is installed. */
  get #isSame(): boolean {
    return (
      this.#state.installed?.manifestSha256 === this.#release.ref.manifestSha256 && this.#state.partial === undefined
    )
  }

  /** All three parts. */
  async run(): Promise<RunResult> {
    const prepared = await this.prepare()
    if (this.#options.dryRun === true)
      return { ...prepared.result, state: this.#state, downloadedBytes: prepared.fetchPlan.downloadBytes }
    return await this.finish(prepared)
  }

  /** Compares the folder with the release and says what will be done. */
  async prepare(): Promise<Prepared> {
    const session = this.#session
    const { isAgain = false } = this.#options
    const { plan, installed, cache } = await this.#plan()
    const { writes, modes, removals, kept, asides } = plan
    if (!isAgain) for (const path of kept) session.emit({ type: 'file', path, action: 'kept' })
    session.enter('preflight')
    const { bytes: changedBytes, isLow } = await preflight(session.options.fs, session.layout, plan, {
      requires: this.#release.manifest.requires,
      lowSpace: session.options.lowSpace === true,
    })
    if (writes.length > 0 && !isAgain) session.resetMeter(true)
    session.enter('fetch')
    const context = downloads(session, this.#options.signal, this.#options.verified)
    const fetchPlan = await this.#planFetch(context, plan, installed)
    const releaseBytes = wantedFiles(this.#release.manifest, session.options).reduce((sum, { size }) => sum + size, 0)
    const result = {
      writtenFiles: writes.length + modes.length,
      removedFiles: removals.length,
      keptFiles: kept,
      setAside: asides.map(({ path, to }) => ({ path, to })),
      releaseBytes,
    }
    const summary: PlanSummary = {
      version: this.#release.ref.version,
      changedFiles: result.writtenFiles,
      removedFiles: removals.length,
      releaseBytes,
      changedBytes,
      downloadBytes: fetchPlan.downloadBytes,
    }
    if (!isAgain) this.#announce(summary, writes.length, fetchPlan)
    return { plan, installed, cache, fetchPlan, context, isLow, result, summary }
  }

  async #planFetch(context: DownloadContext, plan: Plan, installed: readonly ManifestFile[]): Promise<FetchPlan> {
    const { layout } = this.#session
    const { indexDeadlineMs, signal } = this.#options
    if (indexDeadlineMs === undefined) return await planFetch(context, layout, plan, installed)
    return await inTime(indexDeadlineMs, signal, (timed) =>
      planFetch({ ...context, signal: timed }, layout, plan, installed),
    )
  }

  #announce(plan: PlanSummary, writes: number, { downloadBytes, keptBytes }: FetchPlan): void {
    const session = this.#session
    session.emit({ type: 'plan', plan })
    if (this.#options.dryRun === true) return
    session.meter.resume(keptBytes)
    session.meter.expect({ download: downloadBytes, disk: plan.changedBytes, files: writes })
  }

  /** Brings everything that is missing into the staging folder, verified; the install itself is only read. */
  async stage(prepared: Prepared, signal: AbortSignal = this.#options.signal): Promise<Staged> {
    const context = { ...prepared.context, signal }
    return await stageAll(context, this.#session.layout, prepared.plan, prepared.fetchPlan)
  }

  /** Puts the release in place, whole; what is not staged yet is downloaded first. */
  async finish(prepared: Prepared): Promise<RunResult> {
    const session = this.#session
    return await session.staging(async () => {
      const { plan, cache, result } = prepared
      const state = prepared.isLow ? await this.#bringInParts(prepared) : await this.#bringWhole(prepared)
      await this.#rememberHashes(plan, cache)
      await this.#prune(plan)
      session.meter.report()
      return { ...result, state, downloadedBytes: session.meter.networkBytes }
    })
  }

  /** Looks at every file and says what has to change. */
  async #plan(): Promise<{ plan: Plan; installed: readonly ManifestFile[]; cache: HashCache }> {
    const session = this.#session
    const { fs, linkedFolders } = session.options
    session.enter('plan')
    const files = wantedFiles(this.#release.manifest, session.options)
    // The very manifest that is installed need not be read again.
    const installed = this.#isSame
      ? possibleFiles(this.#release.manifest, files, session.options)
      : await installedFiles(session, this.#state)
    const cache = await HashCache.load(fs, session.layout.hashCache)
    session.meter.expect({ disk: files.reduce((sum, file) => sum + file.size, 0), files: files.length })
    const plan = await makePlan({
      fs,
      layout: session.layout,
      files,
      manifest: this.#release.manifest,
      installedFiles: installed,
      cache: this.#options.verifyAll ? undefined : cache,
      linkedFolders,
      concurrency: PLAN_CONCURRENCY,
      signal: this.#options.signal,
      onBytes: (count) => session.meter.did({ disk: count }),
      onFile: () => session.meter.did({ files: 1 }),
    })
    await cache.save(fs, session.layout.hashCache)
    return { plan, installed, cache }
  }

  async #bringInParts({ context, plan, installed }: Prepared): Promise<InstallState> {
    return await bringInParts({
      session: this.#session,
      context,
      release: this.#release.ref,
      state: this.#state,
      plan,
      installed,
    })
  }

  /** Stages everything, then puts it in place, all or nothing. */
  async #bringWhole(prepared: Prepared): Promise<InstallState> {
    const session = this.#session
    const { plan } = prepared
    const { ref } = this.#release
    const staged = await this.stage(prepared)
    session.enter('stage')
    this.#options.signal.throwIfAborted()
    const hasChanges = staged.steps.length + plan.asides.length + plan.modes.length > 0
    const isKnown = this.#isSame && !this.#state.suspect && this.#state.installed?.rolesVersion === ref.rolesVersion
    if (!hasChanges && isKnown) return this.#state
    const transaction: Transaction = {
      id: hexEncode(session.options.random(8)),
      kind: this.#isSame ? 'repair' : this.#options.kind,
      from: this.#state.partial === undefined ? this.#state.installed : undefined,
      to: ref,
      steps: staged.steps,
      asides: plan.asides.map(({ path, to }) => ({ path, to })),
      modes: plan.modes,
    }
    await commit(session, transaction, staged)
    session.enter('finalize')
    return await finalize(session.apply, transaction, this.#state, session.options.clock())
  }

  /** What was just written has a known hash: the next start need not read it. */
  async #rememberHashes(plan: Plan, cache: HashCache): Promise<void> {
    const { fs } = this.#session.options
    const hashes = new Map(plan.unchanged.map((file) => [file.path, file.sha256]))
    for (const { file } of plan.writes) hashes.set(file.path, file.sha256)
    // A change of permissions changes the identity of a file that stays as it is.
    for (const path of [...plan.writes.map(({ file }) => file.path), ...plan.modes.map(({ path }) => path)]) {
      const found = await look(fs, placeInside(this.#session.layout.root, path))
      if (found.kind === 'file') cache.set(path, found.identity, hashes.get(path) as string)
    }
    if (cache.size !== hashes.size) cache.keepOnly(new Set(hashes.keys()))
    await cache.save(fs, this.#session.layout.hashCache)
  }

  /**
   * Removes what only this update needed: staging, old indexes, the backups of a repair. A repair leaves what an update
   * has downloaded.
   */
  async #prune(plan: Plan): Promise<void> {
    const { layout, options } = this.#session
    const { fs } = options
    const own = new Set(plan.writes.map(({ file }) => file.sha256))
    const ahead = await preloadBlobs(fs, layout)
    for (const name of await listFolder(fs, layout.staging)) {
      if (this.#options.kind === 'repair' && !own.has(name.slice(0, 64))) continue
      if (ahead.files.has(name.slice(0, 64))) continue
      await fs.rm(join(layout.staging, name), { recursive: true, force: true })
    }
    if (this.#options.kind === 'repair') return
    const wanted = new Set(this.#release.manifest.files.map((file) => file.index?.sha256))
    for (const name of await listFolder(fs, layout.index))
      if (!wanted.has(name) && !ahead.indexes.has(name)) await removeFile(fs, join(layout.index, name))
    this.#options.signal.throwIfAborted()
  }
}

/**
 * Brings the folder to a release: plan, preflight, fetch, stage, commit, swap, prune, finalize. Up to the commit
 * nothing live is touched; from then on the change is finished or undone as a whole.
 */
export async function bringTo(
  session: Session,
  release: TargetRelease,
  state: InstallState,
  options: RunOptions,
): Promise<RunResult> {
  return await new UpdateRun(session, release, state, options).run()
}

import { join } from 'node:path'
import { ManifestError } from '@keyturn/manifest'
import type { AcceptedRelease, ReleaseDecision, TrustState } from '@keyturn/manifest'
import { KeyturnError, OneAtATime } from '@keyturn/primitives'
import { pathExists } from '@keyturn/primitives/node'
import { diskError, LauncherError } from './errors.ts'
import { renamePatiently } from './place/move.ts'
import { removeFile, writeSmallFile } from './disk/disk.ts'
import { stageBlob } from './fetch/download.ts'
import { shownUrl } from './fetch/proxy.ts'
import { rollbackTransaction } from './place/go-back.ts'
import { finalize } from './place/finalize.ts'
import { judgeInstalled, judgeUnfinished } from './trust/installed-release.ts'
import type { InstalledRelease } from './trust/installed-release.ts'
import { startClient } from './start/launch.ts'
import type { Engine, EngineStatus, LaunchOptions, LaunchResult, UpdateResult } from './engine-interface.ts'
import { resolveOptions } from './options.ts'
import type { EngineOptions } from './options.ts'
import { Session } from './session.ts'
import { readState, writeState } from './disk/state-file.ts'
import type { InstallState } from './disk/state-file.ts'
import { reportUpdate } from './telemetry.ts'
import { runTrustCycle } from './trust/trust-cycle.ts'
import { commit } from './place/commit.ts'
import { bringTo, downloads } from './place/update-run.ts'
import type { RunResult } from './place/update-run.ts'

/**
 * How far behind the clock here may be: a day, for the hour of another system on the same machine, a wrong time zone or a
 * wrong date. Signed times are a floor for it (docs/decisions/0078).
 */
const SLOW_CLOCK_MS = 24 * 60 * 60 * 1000
/** A clock that is this far behind a signed time is worth a word. */
const CLOCK_NOTICE_MS = 5 * 60 * 1000

const offlineCodes = new Set([
  'LA_NETWORK',
  'LA_TIMEOUT',
  'LA_HTTP_STATUS',
  'LA_REDIRECT',
  'LA_SIZE',
  'LA_ENCODING',
  'MAN_MISSING',
  'TRUST_MISSING',
])

/** Makes the engine of one install. Nothing is touched until an operation is called. */
export function createEngine(options: EngineOptions): Engine {
  return new InstallEngine(options)
}

class InstallEngine implements Engine {
  readonly #session: Promise<Session>
  readonly #operations = new OneAtATime()
  #stopper: AbortController | undefined

  constructor(options: EngineOptions) {
    this.#session = Session.open(resolveOptions(options))
    this.#session.catch(() => undefined) // told by the first operation
  }

  /** One operation at a time. */
  async #inTurn<T>(run: (session: Session) => Promise<T>): Promise<T> {
    return await this.#operations.run(async () => {
      try {
        return await run(await this.#session)
      } catch (error) {
        throw diskError(error, 'work on the install')
      }
    })
  }

  #stoppable(signal: AbortSignal | undefined): AbortSignal {
    this.#stopper = new AbortController()
    return signal === undefined ? this.#stopper.signal : AbortSignal.any([signal, this.#stopper.signal])
  }

  async update(
    options: { signal?: AbortSignal | undefined; dryRun?: boolean | undefined } = {},
  ): Promise<UpdateResult> {
    return await this.#inTurn((session) => this.#update(session, options))
  }

  async #update(
    session: Session,
    options: { signal?: AbortSignal | undefined; dryRun?: boolean | undefined; isPrompt?: boolean },
  ): Promise<UpdateResult> {
    const signal = this.#stoppable(options.signal)
    session.resetMeter()
    return await session.exclusively(async ({ state }) => {
      signal.throwIfAborted()
      session.source.begin(options.isPrompt === true && state.installed !== undefined)
      if (await pathExists(session.layout.paused, session.options.fs))
        throw new LauncherError('LA_PAUSED', 'Cannot update: downloads are paused', { hint: 'Resume them first' })
      const decision =
        options.isPrompt === true && state.installed !== undefined
          ? await inTime(session.options.promptDeadlineMs, signal, (timed) => this.#decide(session, timed))
          : await this.#decide(session, signal)
      if (decision.outcome !== 'accepted' && state.partial !== undefined) {
        const kept = await judgeUnfinished(session, state.partial, await this.#trustState(session))
        if (kept.playable) return await this.#goOn(session, kept.release, state, signal, options.dryRun)
      }
      if (decision.outcome === 'refused') throw decision.error
      if (decision.outcome === 'stay') return this.#nothingToDo(session, state, 'stay')
      return await this.#install(session, decision, state, signal, options.dryRun)
    })
  }

  /** Asks the server and tells what came of it. */
  async #decide(session: Session, signal: AbortSignal): Promise<ReleaseDecision> {
    const { clock, channel, product, launcherVersion, ignoreRollout } = session.options
    session.enter('trust')
    const loaded = await session.trust.load()
    if (loaded.lost) throw lostTrust(session)
    session.source.setMirrors(await session.trust.mirrors())
    const compareTips = session.source.mirrors.length > 0 && (await session.trust.isTipComparisonDue(clock()))
    const { decision, isTampered } = await runTrustCycle(session.source, session.trust, loaded.state, {
      channel,
      nowMs: clock(),
      futureSkewMs: SLOW_CLOCK_MS,
      launcherVersion,
      signal,
      compareTips,
      cohort: ignoreRollout === true ? 'in' : { installId: await session.installId() },
      ...(product === undefined ? {} : { product }),
    })
    this.#isTampered = isTampered
    warnOfClock(session, decision.state)
    for (const { code, message } of decision.warnings.filter((warning) => warning.code !== 'MAN_CLOCK'))
      session.emit({ type: 'notice', code, message })
    session.emit({
      type: 'trust',
      status: decision.trust === 'barred' && !isTampered ? 'stale' : decision.trust,
      reason: decision.outcome === 'refused' ? decision.error.code : undefined,
    })
    if (decision.outcome !== 'refused' && 'head' in decision && decision.head !== undefined)
      session.source.setMirrors(decision.head.mirrors)
    return decision
  }

  #nothingToDo(session: Session, state: InstallState, outcome: 'stay' | 'up-to-date'): UpdateResult {
    return {
      outcome,
      version: state.installed?.version,
      previousVersion: state.installed?.version,
      trust: 'current',
      writtenFiles: 0,
      removedFiles: 0,
      keptFiles: [],
      setAside: [],
      downloadedBytes: session.meter.networkBytes,
      releaseBytes: 0,
    }
  }

  async #install(
    session: Session,
    decision: AcceptedRelease,
    state: InstallState,
    signal: AbortSignal,
    dryRun?: boolean,
  ): Promise<UpdateResult> {
    if (state.failed.includes(decision.manifestSha256)) {
      session.emit({
        type: 'notice',
        code: 'LA_RELEASE_FAILED',
        message: `Release ${decision.manifest.version} did not start here and is not installed again`,
      })
      return this.#nothingToDo(session, state, 'stay')
    }
    const ref = {
      version: decision.manifest.version,
      sequence: decision.manifest.sequence ?? 0,
      epoch: decision.manifest.epoch ?? 0,
      channel: session.options.channel,
      manifestSha256: decision.manifestSha256,
      rolesVersion: decision.authority?.roles.version ?? 0,
    }
    const result = await bringTo(session, { ref, manifest: decision.manifest }, state, {
      kind: 'update',
      verifyAll: state.suspect,
      signal,
      dryRun,
    })
    if (dryRun === true)
      return {
        ...toUpdateResult(result.writtenFiles + result.removedFiles > 0 ? 'updated' : 'up-to-date', result, state),
        version: ref.version,
      }
    const isNew = state.installed?.manifestSha256 !== ref.manifestSha256
    if (isNew) this.#report(session, decision)
    return toUpdateResult(isNew ? 'updated' : result.writtenFiles > 0 ? 'repaired' : 'up-to-date', result, state)
  }

  /** Brings a low-space update to its end although the server no longer offers that release. */
  async #goOn(
    session: Session,
    release: InstalledRelease,
    state: InstallState,
    signal: AbortSignal,
    dryRun?: boolean,
  ): Promise<UpdateResult> {
    const result = await bringTo(session, release, state, { kind: 'update', verifyAll: state.suspect, signal, dryRun })
    return toUpdateResult('updated', result, state)
  }

  #report(session: Session, decision: AcceptedRelease): void {
    const { telemetryUrlTemplate, fetch, clock } = session.options
    if (telemetryUrlTemplate === undefined || telemetryUrlTemplate === '') return
    void reportUpdate(fetch, telemetryUrlTemplate, {
      format: decision.manifest.format,
      version: decision.manifest.version,
      at: clock(),
    })
  }

  async repair(options: { signal?: AbortSignal | undefined } = {}): Promise<UpdateResult> {
    return await this.#inTurn(async (session) => {
      const signal = this.#stoppable(options.signal)
      session.resetMeter()
      session.source.begin(false)
      return await session.exclusively(async ({ state }) => {
        const installed = await this.#playable(session, state)
        const release = { ref: installed.ref, manifest: installed.manifest }
        const result = await bringTo(session, release, state, { kind: 'repair', verifyAll: true, signal })
        if (result.state.suspect)
          await writeState(session.options.fs, session.layout, { ...result.state, suspect: false })
        return toUpdateResult(
          result.writtenFiles > 0 || result.removedFiles > 0 ? 'repaired' : 'up-to-date',
          result,
          state,
        )
      })
    })
  }

  /** The installed release, if it may be played. */
  async #playable(session: Session, state: InstallState): Promise<InstalledRelease> {
    if (state.partial !== undefined) {
      throw new LauncherError(
        'LA_UNFINISHED',
        `Cannot use the install: the update to ${state.partial.version} goes file by file and is not through`,
        { hint: 'Update again; it goes on where it stopped' },
      )
    }
    if (state.installed === undefined)
      throw new LauncherError('LA_NOT_INSTALLED', `Nothing is installed in "${session.layout.root}"`)
    const judged = await judgeInstalled(session, state.installed, await this.#trustState(session))
    if (judged.playable) return judged.release
    session.emit({ type: 'trust', status: 'barred', reason: judged.error.code })
    throw judged.error
  }

  async #trustState(session: Session): Promise<TrustState> {
    return (await session.trust.load()).state
  }

  async launch(options: LaunchOptions = {}): Promise<LaunchResult> {
    return await this.#inTurn(async (session) => {
      const attempt =
        options.update === false || options.offline === true
          ? { offline: options.offline === true, update: undefined, failure: undefined }
          : await this.#tryUpdate(session, options)
      if (attempt.failure?.code === 'MAN_SIGNATURE' && attempt.barred && options.playInstalled !== true) {
        throw new LauncherError('LA_BARRED', 'Cannot start: the newest release carries a wrong signature', {
          cause: attempt.failure,
          hint: 'Choose to play the installed release, or try again later',
        })
      }
      const { signal } = options
      return await session.exclusively(async ({ state }) => {
        const ready = await this.#rollBackIfFailing(session, state)
        const installed = await this.#playable(session, ready)
        const { failure, offline } = attempt
        if (failure !== undefined)
          session.emit({
            type: 'notice',
            code: failure.code,
            message: `${failure.message}; starting ${installed.ref.version} ${offline ? 'offline' : 'as it is installed'}`,
          })
        const started = await startClient(session, installed, ready, {
          signal,
          stdio: options.stdio,
          args: options.args,
          isOffline: attempt.offline,
          asksNobody: options.offline === true,
        })
        const trust = attempt.update?.trust ?? (await this.#trustStatus(session, ready)).trust
        return { ...started, version: installed.ref.version, offline: attempt.offline, trust, update: attempt.update }
      })
    })
  }

  /** An update before a start: what fails here keeps nobody from playing, unless trust says so. */
  async #tryUpdate(
    session: Session,
    options: LaunchOptions,
  ): Promise<{
    offline: boolean
    update: UpdateResult | undefined
    failure: KeyturnError | undefined
    barred?: boolean
  }> {
    let barred = false
    try {
      return {
        offline: false,
        update: await this.#update(session, { signal: options.signal, isPrompt: true }),
        failure: undefined,
      }
    } catch (error) {
      options.signal?.throwIfAborted()
      const { state } = await readState(session.options.fs, session.layout)
      if (!(error instanceof KeyturnError) || error.kind === 'bug' || state.installed === undefined) throw error
      barred = this.#isTampered
      return { offline: offlineCodes.has(error.code), update: undefined, failure: error, barred }
    }
  }

  /** Whether the last cycle met a manifest with a wrong signature. */
  #isTampered = false

  /** Two starts that did not live: back to the release before. */
  async #rollBackIfFailing(session: Session, state: InstallState): Promise<InstallState> {
    if (state.confirmed || state.failedStarts < 2 || state.previous === undefined) return state
    session.emit({
      type: 'notice',
      code: 'LA_RELEASE_FAILED',
      message: `Release ${state.installed?.version ?? ''} did not start twice; going back to ${state.previous.release.version}`,
    })
    return await this.#goBack(session, state)
  }

  async #goBack(session: Session, state: InstallState): Promise<InstallState> {
    const transaction = await rollbackTransaction(session, state)
    await commit(session, transaction, undefined)
    session.enter('finalize')
    return await finalize(session.apply, transaction, state, session.options.clock())
  }

  async rollback(): Promise<UpdateResult> {
    return await this.#inTurn((session) =>
      session.exclusively(async ({ state }) => {
        const before = state.installed?.version
        const after = await this.#goBack(session, state)
        return { ...this.#nothingToDo(session, after, 'stay'), outcome: 'rolled-back', previousVersion: before }
      }),
    )
  }

  async fetchLauncher(path: string, options: { signal?: AbortSignal | undefined } = {}): Promise<boolean> {
    return await this.#inTurn(async (session) => {
      const signal = this.#stoppable(options.signal)
      session.source.begin(false)
      return await session.exclusively(async () => {
        const decision = await this.#decide(session, signal)
        if (decision.outcome === 'refused') throw decision.error
        const file = decision.outcome === 'accepted' ? decision.manifest.launcher : undefined
        if (file === undefined || (file.platform !== 'all' && file.platform !== session.options.target)) return false
        session.enter('fetch')
        await stageBlob(downloads(session, signal), file, undefined, undefined)
        await renamePatiently(session.apply, join(session.layout.staging, file.sha256), path)
        return true
      })
    })
  }

  async status(): Promise<EngineStatus> {
    try {
      return await this.#status(await this.#session)
    } catch (error) {
      throw diskError(error, 'read the install')
    }
  }

  async #status(session: Session): Promise<EngineStatus> {
    const { fs, channel, server } = session.options
    const { state } = await readState(fs, session.layout)
    const { trust, reason, notes, needsKey = false, offered } = await this.#trustStatus(session, state)
    return {
      folder: session.layout.root,
      server: shownUrl(server),
      channel,
      state: session.state,
      version: state.installed?.version,
      sequence: state.installed?.sequence,
      trust,
      reason,
      rolesVersion: state.installed?.rolesVersion,
      notes,
      needsKey,
      offered,
      confirmed: state.confirmed,
      failedStarts: state.failedStarts,
      canRollBack: state.previous !== undefined,
      unfinished: state.partial?.version,
      paused: await pathExists(session.layout.paused, fs),
      bytesPerSecond: session.limit.bytesPerSecond,
      progress: session.meter.snapshot(),
    }
  }

  /** Trust as the stored documents and the clock have it. */
  async #trustStatus(
    session: Session,
    state: InstallState,
  ): Promise<Pick<EngineStatus, 'trust' | 'reason'> & Partial<Pick<EngineStatus, 'notes' | 'needsKey' | 'offered'>>> {
    const { clock, channel } = session.options
    const loaded = await session.trust.load()
    if (loaded.lost) return { trust: 'stale', reason: lostTrust(session) }
    let release: InstalledRelease | undefined
    if (state.installed !== undefined) {
      const judged = await judgeInstalled(session, state.installed, loaded.state)
      if (!judged.playable) return { trust: 'barred', reason: judged.error }
      release = judged.release
    }
    const decision = await session.trust.judgeStored(loaded.state, { channel, nowMs: clock() })
    return {
      trust: decision.trust,
      reason: decision.outcome === 'refused' && decision.trust !== 'pinned' ? decision.error : undefined,
      notes: release?.manifest.notes,
      needsKey: release !== undefined && release.format.runtimeKey !== 'none',
      offered: decision.outcome === 'accepted' ? decision.manifest.version : undefined,
    }
  }

  async pause(): Promise<void> {
    await this.#setPaused(true)
    this.#stopper?.abort(new LauncherError('LA_PAUSED', 'The download was paused'))
  }

  async resume(): Promise<void> {
    await this.#setPaused(false)
  }

  async #setPaused(paused: boolean): Promise<void> {
    const session = await this.#session
    const { fs } = session.options
    await fs.mkdir(session.layout.updates, { recursive: true, mode: 0o700 })
    if (paused) await writeSmallFile(fs, session.layout.paused, new Uint8Array(0))
    else await removeFile(fs, session.layout.paused)
    session.emit({ type: 'paused', paused })
  }

  setLimit(bytesPerSecond: number | undefined): void {
    void this.#session.then((session) => session.limit.set(bytesPerSecond))
  }
}

/** Gives up what keeps somebody from playing: a server that answers, but never to an end. */
async function inTime<T>(ms: number, signal: AbortSignal, run: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const late = new AbortController()
  const timer = setTimeout(() => {
    const problem = `the server did not say within ${Math.round(ms / 1000)} s what is new`
    late.abort(new LauncherError('LA_TIMEOUT', `Cannot update before the start: ${problem}`))
  }, ms)
  try {
    return await run(AbortSignal.any([signal, late.signal]))
  } finally {
    clearTimeout(timer)
  }
}

/** Tells the player that the clock is slow, with the way to put it right; nothing else depends on it. */
function warnOfClock(session: Session, { clockFloorMs }: TrustState): void {
  const behindMs = clockFloorMs - session.options.clock()
  if (behindMs < CLOCK_NOTICE_MS) return
  const minutes = Math.round(behindMs / 60_000)
  const howFar = minutes < 120 ? `${minutes} minutes` : `${Math.round(minutes / 60)} hours`
  session.emit({
    type: 'notice',
    code: 'MAN_CLOCK',
    message: `The clock of this computer is ${howFar} or more behind a signed time of the publisher; set its date and time`,
  })
}

function toUpdateResult(outcome: UpdateResult['outcome'], result: RunResult, before: InstallState): UpdateResult {
  const { state: after, writtenFiles, removedFiles, keptFiles, setAside, downloadedBytes, releaseBytes } = result
  return {
    outcome,
    version: after.installed?.version,
    previousVersion: before.installed?.version,
    trust: 'current',
    writtenFiles,
    removedFiles,
    keptFiles,
    setAside,
    downloadedBytes,
    releaseBytes,
  }
}

function lostTrust(session: Session): ManifestError {
  return new ManifestError(
    'TRUST_LOST',
    `Cannot update: no signed document is left that proves what "${session.layout.trustState}" should say`,
    {
      hint: 'Remove the folder "trust" below ".updates" if you are sure that this install comes from the right publisher',
    },
  )
}

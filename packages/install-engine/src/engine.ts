import { join } from 'node:path'
import type { TrustState } from '@keyturn/manifest'
import { KeyturnError, OneAtATime } from '@keyturn/primitives'
import { askServer } from './ask-server.ts'
import { engineStatus, offerOf, trustStatus } from './engine-status.ts'
import { diskError, LauncherError } from './errors.ts'
import { renamePatiently } from './place/move.ts'
import { makeUpdatesFolder, removeFile, writeSmallFile } from './disk/disk.ts'
import { stageBlob } from './fetch/stage-blob.ts'
import { rollbackTransaction } from './place/go-back.ts'
import { finalize } from './place/finalize.ts'
import { verifyInstalledRelease } from './trust/installed-release.ts'
import type { InstalledRelease } from './trust/installed-release.ts'
import { startClient } from './start/launch.ts'
import type { Engine, EngineStatus, LaunchOptions, LaunchResult, Offer, UpdateResult } from './engine-interface.ts'
import { resolveOptions } from './options.ts'
import type { ResolvedOptions } from './options.ts'
import type { EngineOptions } from './options.ts'
import { Session } from './session.ts'
import { readState, writeState } from './disk/state-file.ts'
import type { InstallState } from './disk/state-file.ts'
import { nothingToDo, toUpdateResult, UpdateFlow } from './update-flow.ts'
import type { FlowOptions } from './update-flow.ts'
import type { UpdateOptions } from './update-options.ts'
import { PreloadFlow } from './preload-flow.ts'
import type { PreloadOptions, PreloadResult } from './preload-flow.ts'
import { commit } from './place/commit.ts'
import { wantedFiles } from './place/wanted-files.ts'
import { readVerified } from './read-verified.ts'
import { bringTo, downloads } from './place/update-run.ts'

const OFFLINE_CODES = new Set([
  'LA_NETWORK',
  'LA_ACCESS',
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
  readonly #options: ResolvedOptions
  #opened: Promise<Session> | undefined
  #updateFlow: Promise<UpdateFlow> | undefined
  #preloadFlow: Promise<PreloadFlow> | undefined
  readonly #operations = new OneAtATime()
  readonly #line = new OneAtATime()
  #stopper: AbortController | undefined

  constructor(options: EngineOptions) {
    this.#options = resolveOptions(options)
  }

  /** Opened by the first operation: an engine that nobody asks for anything makes no folder. */
  get #session(): Promise<Session> {
    this.#opened ??= Session.open(this.#options)
    return this.#opened
  }

  get #updates(): Promise<UpdateFlow> {
    this.#updateFlow ??= this.#session.then(
      (session) => new UpdateFlow(session, { turns: this.#operations, line: this.#line }),
    )
    return this.#updateFlow
  }

  get #preloads(): Promise<PreloadFlow> {
    // After the update flow, which looks after the same staging folder.
    this.#preloadFlow ??= Promise.all([this.#session, this.#updates]).then(
      ([session]) => new PreloadFlow(session, { turns: this.#operations, line: this.#line }),
    )
    return this.#preloadFlow
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

  async update(options: UpdateOptions = {}): Promise<UpdateResult> {
    return await this.#update(options)
  }

  async #update(options: FlowOptions): Promise<UpdateResult> {
    try {
      await (await this.#preloads).giveWay()
      return await (await this.#updates).run(options)
    } catch (error) {
      throw await (await this.#session).problem(error)
    }
  }

  async preload(options: PreloadOptions = {}): Promise<PreloadResult> {
    try {
      return await (await this.#preloads).run(options)
    } catch (error) {
      throw diskError(error, 'fetch the next release ahead')
    }
  }

  async repair(options: { signal?: AbortSignal | undefined } = {}): Promise<UpdateResult> {
    return await this.#inTurn(async (session) => {
      const signal = this.#stoppable(options.signal)
      session.resetMeter()
      session.source.begin(false)
      return await session.exclusively(async ({ state }) => {
        await session.leaveStaging()
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
        `Cannot use the install: the update to ${state.partial.version} goes file by file and is not finished`,
        { hint: 'Update again; it goes on where it stopped' },
      )
    }
    if (state.installed === undefined)
      throw new LauncherError('LA_NOT_INSTALLED', `Nothing is installed in "${session.layout.root}"`)
    const verified = await verifyInstalledRelease(session, state.installed, await this.#trustState(session))
    if (verified.playable) return verified.release
    session.emit({ type: 'trust', status: 'barred', reason: verified.error.code })
    throw verified.error
  }

  async #trustState(session: Session): Promise<TrustState> {
    return (await session.trust.load()).state
  }

  async launch(options: LaunchOptions = {}): Promise<LaunchResult> {
    try {
      return await this.#launch(options)
    } catch (error) {
      throw diskError(error, 'start the client')
    }
  }

  async #launch(options: LaunchOptions): Promise<LaunchResult> {
    // What downloads now goes on beside the game; a start never waits for it.
    await (await this.#preloads).giveWay()
    const isUpdating = (await this.#updates).giveTurn()
    const attempt =
      isUpdating || options.update === false || options.offline === true
        ? { offline: options.offline === true, update: undefined, failure: undefined }
        : await this.#tryUpdate(await this.#session, options)
    return await this.#inTurn(async (session) => {
      if (attempt.failure?.code === 'MAN_SIGNATURE' && attempt.barred && options.playInstalled !== true) {
        throw new LauncherError('LA_BARRED', 'Cannot start: the newest release carries a wrong signature', {
          cause: attempt.failure,
          hint: 'Choose to play the installed release, or try again later',
        })
      }
      const { signal } = options
      return await session.exclusivelyIfNeeded(async ({ state }) => {
        const ready = await this.#rollBackIfFailing(session, state)
        const installed = await this.#playable(session, ready)
        const { failure, offline } = attempt
        if (failure !== undefined)
          session.emit({
            type: 'notice',
            code: failure.code,
            message:
              `${failure.message}; starting ${installed.ref.version} ` +
              `${offline ? 'offline' : 'as it is installed'}`,
          })
        const started = await startClient(session, installed, ready, {
          signal,
          stdio: options.stdio,
          args: options.args,
          isOffline: attempt.offline,
          asksNobody: options.offline === true,
        })
        const trust = attempt.update?.trust ?? (await trustStatus(session, ready)).trust
        return { ...started, version: installed.ref.version, offline: attempt.offline, trust, update: attempt.update }
      })
    })
  }

  /** An update before a start. A failed update does not stop the start, unless trust does. */
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
        update: await this.#update({ signal: options.signal, mayDownload: options.mayDownload, isPrompt: true }),
        failure: undefined,
      }
    } catch (error) {
      options.signal?.throwIfAborted()
      const { state } = await readState(session.options.fs, session.layout)
      if (!(error instanceof KeyturnError) || error.kind === 'bug' || state.installed === undefined) throw error
      barred = (await this.#updates).isTampered
      return { offline: OFFLINE_CODES.has(error.code), update: undefined, failure: error, barred }
    }
  }

  /** After two failed starts, goes back to the previous release. */
  async #rollBackIfFailing(session: Session, state: InstallState): Promise<InstallState> {
    if (state.confirmed || state.failedStarts < 2 || state.previous === undefined) return state
    session.emit({
      type: 'notice',
      code: 'LA_RELEASE_FAILED',
      message:
        `Release ${state.installed?.version ?? ''} did not start twice; going back to ` +
        `${state.previous.release.version}`,
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
        return { ...nothingToDo(session, after, 'stay'), outcome: 'rolled-back', previousVersion: before }
      }),
    )
  }

  async fetchLauncher(path: string, options: { signal?: AbortSignal | undefined } = {}): Promise<boolean> {
    return await this.#inTurn(async (session) => {
      const signal = this.#stoppable(options.signal)
      session.source.begin(false)
      return await session.exclusively(async () => {
        await session.leaveStaging()
        const { decision } = await askServer(session, signal)
        if (decision.outcome === 'refused') throw decision.error
        const file = decision.outcome === 'accepted' ? decision.manifest.launcher : undefined
        if (file === undefined || (file.platform !== 'all' && file.platform !== session.options.target)) return false
        session.enter('fetch')
        return await session.staging(async () => {
          await stageBlob(downloads(session, signal), file)
          await renamePatiently(session.apply, join(session.layout.staging, file.sha256), path)
          return true
        })
      })
    })
  }

  async offer(options: { signal?: AbortSignal | undefined } = {}): Promise<Offer | undefined> {
    return await this.#inTurn(async (session) => {
      const signal = this.#stoppable(options.signal)
      session.source.begin(false)
      return await session.exclusively(async () => {
        const { decision } = await askServer(session, signal)
        if (decision.outcome === 'refused') throw decision.error
        return decision.outcome === 'accepted' ? offerOf(session, decision.manifest) : undefined
      })
    })
  }

  async read(path: string): Promise<Uint8Array | undefined> {
    return await this.#inTurn((session) =>
      session.exclusively(async ({ state }) => {
        const { manifest } = await this.#playable(session, state)
        const file = wantedFiles(manifest, session.options).find((wanted) => wanted.path === path)
        return file === undefined ? undefined : await readVerified(session, file)
      }),
    )
  }

  async withdrawn(manifests: readonly string[]): Promise<readonly string[]> {
    const known = await (await this.#session).trust.withdrawn()
    return manifests.filter((sha256) => known.has(sha256))
  }

  async status(): Promise<EngineStatus> {
    try {
      return await engineStatus(await this.#session)
    } catch (error) {
      throw diskError(error, 'read the install')
    }
  }

  async pause(): Promise<void> {
    await this.#setPaused(true)
    const reason = new LauncherError('LA_PAUSED', 'The download was paused')
    this.#stopper?.abort(reason)
    ;(await this.#updates).stop(reason)
  }

  async resume(): Promise<void> {
    await this.#setPaused(false)
  }

  async #setPaused(paused: boolean): Promise<void> {
    const session = await this.#session
    const { fs } = session.options
    await makeUpdatesFolder(fs, session.layout)
    if (paused) await writeSmallFile(fs, session.layout.paused, new Uint8Array(0))
    else await removeFile(fs, session.layout.paused)
    session.emit({ type: 'paused', paused })
  }

  setReports(isOn: boolean): void {
    void this.#session.then((session) => session.reports.set(isOn))
  }

  setLimit(bytesPerSecond: number | undefined): void {
    void this.#session.then((session) => session.limit.set(bytesPerSecond))
  }
}

import { setTimeout as sleep } from 'node:timers/promises'
import type { AcceptedRelease, ReleaseDecision } from '@keyturn/manifest'
import { KeyturnError } from '@keyturn/primitives'
import type { OneAtATime } from '@keyturn/primitives'
import { pathExists } from '@keyturn/primitives/node'
import { askServer } from './ask-server.ts'
import { runningClient } from './disk/client-process.ts'
import { readState } from './disk/state-file.ts'
import type { FileIdentity } from './disk/disk.ts'
import type { InstallState } from './disk/state-file.ts'
import type { UpdateResult } from './engine-interface.ts'
import { LauncherError } from './errors.ts'
import { inTime } from './in-time.ts'
import { bringTo, UpdateRun } from './place/update-run.ts'
import type { Prepared, RunResult, TargetRelease } from './place/update-run.ts'
import { addStaged } from './disk/preload-record.ts'
import { notTooSlowly } from './prompt-rate.ts'
import type { Session } from './session.ts'
import { reportUpdate } from './telemetry.ts'
import { Attempt } from './update-attempt.ts'
import type { UpdateOptions } from './update-options.ts'
import { verifyUnfinished } from './trust/installed-release.ts'

/** An update as the engine runs it. */
export interface FlowOptions extends UpdateOptions {
  /** Somebody waits to play what is installed. */
  readonly isPrompt?: boolean | undefined
}

const NO_FAILURES = new Set(['LA_LOCKED', 'LA_NOT_NOW', 'LA_PAUSED'])
/** How often a client that runs is looked for. */
const CLIENT_POLL_MS = 1_000

/** What the first part of an update came to: an end, or something to download. */
type Begun =
  | { readonly result: UpdateResult }
  | {
      readonly run: UpdateRun
      readonly prepared: Prepared
      readonly release: TargetRelease
      readonly decision: AcceptedRelease
      readonly state: InstallState
    }

/**
 * Updates of one install. An update holds the install only while it asks what is new and compares, and again while it
 * puts the new release in place. In between it downloads beside the install, into the staging folder, and the client
 * may be started and may run; a start that needs the install or the staging folder at once is given way to.
 */
export class UpdateFlow {
  readonly #session: Session
  readonly #turns: OneAtATime
  readonly #line: OneAtATime
  #attempt: Attempt | undefined
  #stopper: AbortController | undefined
  /**
   * Staged files with their identities when their hash was taken, so that what goes on later need not read them again.
   */
  readonly #verified = new Map<string, FileIdentity>()
  /** Whether the last cycle met a manifest with a wrong signature. */
  isTampered = false

  /**
   * @param turns - One operation on the install at a time.
   * @param line - One update at a time.
   */
  constructor(session: Session, { turns, line }: { turns: OneAtATime; line: OneAtATime }) {
    this.#session = session
    this.#turns = turns
    this.#line = line
    session.leaveStaging = async () => await this.#leaveStaging()
  }

  /** Ends a download; what came of it is kept. */
  stop(reason: LauncherError): void {
    this.#stopper?.abort(reason)
  }

  /**
   * Makes room for a start.
   *
   * @returns Whether an update of an install that can be played is under way; it goes on by itself.
   */
  giveTurn(): boolean {
    const attempt = this.#attempt
    if (attempt === undefined) return false
    if (attempt.phase === 'begin') attempt.giveWay()
    return true
  }

  /** Ends what writes into the staging folder until the turn that is running is over. */
  async #leaveStaging(): Promise<void> {
    const attempt = this.#attempt
    if (attempt?.phase !== 'beside') return // it waits for its turn
    attempt.giveWay()
    await attempt.ended
  }

  /** Brings the install to the newest release that may be installed. */
  async run(options: FlowOptions): Promise<UpdateResult> {
    return await this.#line.run(async () => {
      this.#stopper = new AbortController()
      const signals = [this.#stopper.signal, ...(options.signal === undefined ? [] : [options.signal])]
      for (let isAgain = false; ; isAgain = true) {
        const attempt = new Attempt(signals)
        try {
          return await this.#once(attempt, options, isAgain)
        } catch (error) {
          const isStopped = signals.some(({ aborted }) => aborted)
          if (!attempt.gaveWay && !isStopped) this.#reportFailure(attempt, error)
          // What one start waited for is given up for the other one.
          if (!attempt.gaveWay || isStopped || options.isPrompt === true) throw error
        } finally {
          this.#attempt = undefined
          this.#session.leaveBackground()
          attempt.end()
        }
      }
    })
  }

  async #once(attempt: Attempt, options: FlowOptions, isAgain: boolean): Promise<UpdateResult> {
    const session = this.#session
    const { state } = await readState(session.options.fs, session.layout)
    // Only what can be played meanwhile is worth giving way for.
    if (state.installed !== undefined && state.partial === undefined) this.#attempt = attempt
    const begun = await this.#turns.run(() =>
      session.exclusively(async (recovery) => await this.#begin(attempt, options, recovery.state, isAgain)),
    )
    if ('result' in begun) return begun.result
    attempt.phase = 'beside'
    this.#attempt = attempt
    await this.#download(attempt, begun, options)
    if (attempt.release !== undefined) session.reports.report(attempt.release, 'downloaded')
    if (options.downloadOnly === true) return stagedResult(begun, this.#session)
    for (;;) {
      const waited = options.whenRunning === 'wait' && (await this.#untilClosed(attempt))
      attempt.phase = 'end'
      try {
        return await this.#turns.run(() =>
          session.exclusively(async (recovery) => await this.#putInPlace(attempt, begun, waited, recovery.state)),
        )
      } catch (error) {
        if (options.whenRunning !== 'wait' || !isClientRunning(error)) throw error
        attempt.phase = 'beside' // it was started just now
      }
    }
  }

  async #begin(attempt: Attempt, options: FlowOptions, state: InstallState, isAgain: boolean): Promise<Begun> {
    const session = this.#session
    const { signal } = attempt
    signal.throwIfAborted()
    const isPrompt = options.isPrompt === true && state.installed !== undefined
    session.source.begin(isPrompt)
    if (await pathExists(session.layout.paused, session.options.fs))
      throw new LauncherError('LA_PAUSED', 'Cannot update: downloads are paused', { hint: 'Resume them first' })
    session.resetMeter(isAgain) // not before: what a paused download shows stays
    const decision = isPrompt
      ? await inTime(session.options.promptDeadlineMs, signal, (timed) => this.#ask(timed))
      : await this.#ask(signal)
    if (decision.outcome !== 'accepted' && state.partial !== undefined) {
      const kept = await verifyUnfinished(session, state.partial, (await session.trust.load()).state)
      if (kept.playable) {
        const result = await this.#bring(kept.release, state, options, signal)
        return { result: toUpdateResult('updated', result, state) }
      }
    }
    if (decision.outcome === 'refused') throw decision.error
    if (decision.outcome === 'stay') return { result: nothingToDo(session, state, 'stay') }
    if (state.failed.includes(decision.manifestSha256)) {
      session.emit({
        type: 'notice',
        code: 'LA_RELEASE_FAILED',
        message: `Release ${decision.manifest.version} did not start here and is not installed again`,
      })
      return { result: nothingToDo(session, state, 'stay') }
    }
    if (options.dryRun !== true && state.installed?.manifestSha256 !== decision.manifestSha256)
      attempt.release = { version: decision.manifest.version, manifestSha256: decision.manifestSha256 }
    return await this.#prepare(attempt, options, decision, state)
  }

  /** Compares; what needs no download, or cannot be played meanwhile anyway, is brought to its end at once. */
  async #prepare(
    attempt: Attempt,
    options: FlowOptions,
    decision: AcceptedRelease,
    state: InstallState,
  ): Promise<Begun> {
    const { signal } = attempt
    const release = { ref: refOf(this.#session, decision), manifest: decision.manifest }
    const isPlayable = state.installed !== undefined && state.partial === undefined
    if (options.dryRun === true || (!isPlayable && options.downloadOnly !== true)) {
      this.#reportStart(attempt)
      const result = await this.#bring(release, state, options, signal)
      return { result: this.#resultOf(result, decision, state, options.dryRun) }
    }
    await addStaged(this.#session.options.fs, this.#session.layout, this.#verified)
    const run = new UpdateRun(this.#session, release, state, {
      kind: 'update',
      verifyAll: state.suspect,
      signal,
      verified: this.#verified,
      ...(options.isPrompt === true ? { indexDeadlineMs: this.#session.options.promptDeadlineMs } : {}),
    })
    const prepared = await run.prepare()
    if (options.mayDownload?.(prepared.summary) === false)
      throw new LauncherError('LA_NOT_NOW', `Cannot download ${release.ref.version} now: it was not allowed`, {
        details: { version: release.ref.version, bytes: prepared.summary.downloadBytes },
        hint: 'Ask for the update, or change when updates are downloaded',
      })
    this.#reportStart(attempt)
    if (prepared.plan.writes.length > 0 && !prepared.isLow) return { run, prepared, release, decision, state }
    if (options.downloadOnly === true) return { result: nothingToDo(this.#session, state, 'up-to-date') }
    return { result: this.#resultOf(await run.finish(prepared), decision, state) }
  }

  async #bring(
    release: TargetRelease,
    state: InstallState,
    { dryRun }: FlowOptions,
    signal: AbortSignal,
  ): Promise<RunResult> {
    return await bringTo(this.#session, release, state, { kind: 'update', verifyAll: state.suspect, signal, dryRun })
  }

  async #ask(signal: AbortSignal): Promise<ReleaseDecision> {
    const { decision, isTampered } = await askServer(this.#session, signal)
    this.isTampered = isTampered
    return decision
  }

  /** Downloads beside the install. */
  async #download(
    { signal }: Attempt,
    { run, prepared }: Extract<Begun, { run: UpdateRun }>,
    { isPrompt }: FlowOptions,
  ): Promise<void> {
    const session = this.#session
    session.background = 'fetch'
    session.enter('fetch')
    await session.staging(async () => {
      if (isPrompt !== true) await run.stage(prepared, signal)
      else await notTooSlowly(session, signal, async (timed) => await run.stage(prepared, timed))
    })
  }

  /** @returns Whether a client ran. */
  async #untilClosed({ signal }: Attempt): Promise<boolean> {
    const { options, layout } = this.#session
    let waited = false
    while ((await runningClient(options.fs, layout)) !== undefined) {
      signal.throwIfAborted()
      if (!waited) {
        this.#session.background = 'wait'
        this.#session.enter('wait')
      }
      waited = true
      await sleep(CLIENT_POLL_MS, undefined, { signal }).catch(() => signal.throwIfAborted())
    }
    return waited
  }

  /** Compares once more, as the game may have changed files meanwhile, and puts everything in place. */
  async #putInPlace(
    attempt: Attempt,
    { release, decision, state: before }: Extract<Begun, { run: UpdateRun }>,
    waited: boolean,
    state: InstallState,
  ): Promise<UpdateResult> {
    const session = this.#session
    if (state.installed?.manifestSha256 !== before.installed?.manifestSha256 || state.partial !== undefined) {
      attempt.giveWay() // somebody else changed the install: from the start
      attempt.signal.throwIfAborted()
    }
    if (waited) {
      // What was revoked while the game ran counts, without asking anybody.
      const verified = await verifyUnfinished(session, release.ref, (await session.trust.load()).state)
      if (!verified.playable) throw verified.error
    }
    const run = new UpdateRun(session, release, state, {
      kind: 'update',
      verifyAll: state.suspect,
      signal: attempt.signal,
      verified: this.#verified,
      isAgain: true,
    })
    const result = await run.run()
    this.#verified.clear()
    return this.#resultOf(result, decision, state)
  }

  #resultOf(result: RunResult, decision: AcceptedRelease, state: InstallState, dryRun?: boolean): UpdateResult {
    if (dryRun === true)
      return {
        ...toUpdateResult(result.writtenFiles + result.removedFiles > 0 ? 'updated' : 'up-to-date', result, state),
        version: decision.manifest.version,
      }
    const isNew = state.installed?.manifestSha256 !== decision.manifestSha256
    const { version, format, sequence } = decision.manifest
    if (isNew) {
      const { writtenFiles, removedFiles } = result
      const facts = { version, format, channel: this.#session.options.channel, sequence, writtenFiles, removedFiles }
      const words = Object.entries(facts).map(([name, value]) => `${name}=${value}`)
      this.#session.note('info', `installed ${words.join(' ')}`)
      this.#report(decision)
    }
    for (const step of isNew ? (['downloaded', 'swapped'] as const) : [])
      this.#session.reports.report({ version, manifestSha256: decision.manifestSha256 }, step)
    return toUpdateResult(isNew ? 'updated' : result.writtenFiles > 0 ? 'repaired' : 'up-to-date', result, state)
  }

  #reportStart({ release }: Attempt): void {
    if (release !== undefined) this.#session.reports.report(release, 'started')
  }

  /** What the player or the game decided does not count as a failure. */
  #reportFailure({ release }: Attempt, error: unknown): void {
    if (release === undefined || !(error instanceof KeyturnError) || NO_FAILURES.has(error.code)) return
    this.#session.reports.report(release, 'failed', error.code)
  }

  #report(decision: AcceptedRelease): void {
    const { telemetryUrlTemplate, fetch, clock } = this.#session.options
    if (telemetryUrlTemplate === undefined || telemetryUrlTemplate === '') return
    const { format, version } = decision.manifest
    void reportUpdate(fetch, telemetryUrlTemplate, { format, version, at: clock() }).then((isThere) => {
      if (!isThere) this.#session.note('warn', 'telemetry: the report of this update did not arrive')
    })
  }
}

function isClientRunning(error: unknown): boolean {
  return error instanceof LauncherError && error.code === 'LA_LOCKED' && typeof error.details['pid'] === 'number'
}

function refOf(session: Session, { manifest, manifestSha256, authority }: AcceptedRelease): TargetRelease['ref'] {
  return {
    version: manifest.version,
    sequence: manifest.sequence ?? 0,
    epoch: manifest.epoch ?? 0,
    channel: session.options.channel,
    manifestSha256,
    rolesVersion: authority?.roles.version ?? 0,
  }
}

/** The result of an operation that changed nothing. */
export function nothingToDo(session: Session, state: InstallState, outcome: 'stay' | 'up-to-date'): UpdateResult {
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

function stagedResult(
  { prepared, release, state }: Extract<Begun, { run: UpdateRun }>,
  session: Session,
): UpdateResult {
  return {
    ...nothingToDo(session, state, 'up-to-date'),
    outcome: 'staged',
    version: release.ref.version,
    releaseBytes: prepared.result.releaseBytes,
  }
}

/** The result of an operation that brought the folder to a release. */
export function toUpdateResult(
  outcome: UpdateResult['outcome'],
  result: RunResult,
  before: InstallState,
): UpdateResult {
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

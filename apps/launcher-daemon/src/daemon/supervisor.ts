// Long because everything that the launcher does goes through one object that holds its state.
import { existsSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import {
  createEngine,
  folderGone,
  keepSettings,
  LauncherError,
  storedSettings,
  toEngineOptions,
  withAccessCode,
} from '@keyturn/install-engine'
import type {
  Engine,
  EngineEvent,
  EngineOptions,
  LaunchOptions,
  LaunchResult,
  PlanSummary,
  Progress,
  Settings,
  UpdateResult,
} from '@keyturn/install-engine'
import { FirstOffer } from './first-offer.ts'
import { Ahead } from './ahead.ts'
import { limitFor, whyWait } from './download-policy.ts'
import type { WaitReason } from './download-policy.ts'
import { isMetered } from './metered.ts'
import { OtherClient } from './other-client.ts'
import { openSettings, shown, untouchedStatus } from './snapshot.ts'
import type {
  Activity,
  BeginOptions,
  ChooseOptions,
  FolderLook,
  OpenSettings,
  Setup,
  ShownError,
  Snapshot,
  SupervisorOptions,
} from './snapshot.ts'
import { supportReport } from './support-report.ts'
import type { ReportInput } from './support-report.ts'

/** What is so little that no rule of the player holds it up, such as opening a release that is here already. */
const SMALL_BYTES = 64 * 1024

/** How often it is looked whether a download may begin, or has to stop. */
const POLICY_MS = 60_000

/** A server that did not say what the first install would be is asked again after this time, while a page is open. */
const OFFER_RETRY_MS = 15_000

const OFFLINE_CODES = new Set(['LA_NETWORK', 'LA_TIMEOUT', 'LA_HTTP_STATUS', 'LA_REDIRECT'])

/**
 * Runs one engine for a long time: one activity at a time, checks on an interval, and every change goes to all
 * listeners.
 */
export class Supervisor {
  #folder: string
  #setup: Setup | undefined
  #settings: Settings & { readonly server: string; readonly trust: string }
  readonly #extra: Partial<EngineOptions>
  #made: Engine | undefined
  #activity: Activity | undefined
  #client: LaunchResult | undefined
  #offline = false
  #lastError: ShownError | undefined
  #lastResult: Snapshot['lastResult']
  #waiting: Snapshot['waiting']
  #isStarting = false
  #isAsked = false
  /** A start gave up its update for another one. */
  #isUpdateOwed = false
  readonly #otherClient = new OtherClient({
    findClient: async () => (await this.#engine.status()).clientPid,
    changed: () => {
      this.applyPolicy()
      this.#tell({ type: 'changed' })
    },
  })
  readonly #offer = new FirstOffer()
  #isMetered: boolean | undefined
  #watchers = 0
  readonly #askMetered: () => Promise<boolean | undefined>
  #policyTimer: NodeJS.Timeout | undefined
  #stop = new AbortController()
  #timer: NodeJS.Timeout | undefined
  readonly #ahead = new Ahead({
    engine: () => this.#engine,
    isFree: () => this.#setup === undefined && this.#activity === undefined,
    whyWait: (bytes) => this.#whyWait(bytes),
    changed: () => this.#tell({ type: 'changed' }),
    look: () => void this.begin('update').catch(() => undefined),
  })
  readonly #listeners = new Set<(event: EngineEvent | { readonly type: 'changed' }) => void>()

  constructor(options: SupervisorOptions) {
    this.#folder = options.folder
    this.#setup = options.setup
    this.#settings = options.settings
    this.#extra = options.engine ?? {}
    this.#askMetered = options.isMetered ?? (() => isMetered())
  }

  /** Made when it is first needed: making one makes the folder of the install. */
  get #engine(): Engine {
    this.#made ??= this.#makeEngine()
    return this.#made
  }

  /** Folder of the install; the offered one until the player has chosen. */
  get folder(): string {
    return this.#folder
  }

  /** What runs now: an activity, or the client. */
  get isBusy(): boolean {
    return this.#activity !== undefined || this.#isStarting || this.#client !== undefined
  }

  #makeEngine(): Engine {
    return createEngine({
      ...toEngineOptions(this.#folder, this.#settings),
      makesFolder: false,
      ...this.#extra,
      onEvent: (event) => {
        this.#tell(event)
        if (event.type === 'state' && event.state === 'fetch' && this.#activity === 'update' && !this.#isAsked)
          void this.#stopIfLate().catch(() => undefined) // the next look sees it
      },
    })
  }

  #tell(event: EngineEvent | { readonly type: 'changed' }): void {
    for (const listener of this.#listeners) listener(event)
  }

  /** Listens; the answer stops it. */
  listen(listener: (event: EngineEvent | { readonly type: 'changed' }) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /**
   * Takes the folder that the player chose and begins the first install.
   *
   * @throws LauncherError `LA_LOCKED` when the folder was chosen before, `LA_FOLDER` when it cannot be used.
   */
  async choose(folder: string, { adopt, components }: ChooseOptions = {}): Promise<void> {
    const setup = this.#setup
    if (setup === undefined || this.#activity !== undefined)
      throw new LauncherError('LA_LOCKED', 'Cannot choose a folder: the game has one already')
    this.#folder = await setup.choose(folder, { adopt, paths: this.#offer.value?.paths })
    this.#setup = undefined
    // A folder that was an install before keeps what its player chose.
    const before = await storedSettings(this.#folder, this.#extra.fs).catch(() => ({}))
    this.#settings = { ...before, ...this.#settings, ...(components === undefined ? {} : { components }) }
    this.#lastError = undefined
    await this.#offer.end(setup.offerFolder)
    await keepSettings(this.#folder, this.#settings, this.#extra.fs)
    this.start({ isAsked: true })
  }

  /** What a folder is that the player thinks of. */
  async look(folder: string): Promise<FolderLook> {
    const look = this.#setup?.look
    if (look === undefined) throw new LauncherError('LA_LOCKED', 'Cannot choose a folder: the game has one already')
    return await look(folder, this.#offer.value?.paths ?? [])
  }

  async #askOffer({ offerFolder }: Setup): Promise<void> {
    if (offerFolder === undefined) return
    try {
      await this.#offer.ask({ ...toEngineOptions(offerFolder, this.#settings), ...this.#extra })
      this.#lastError = undefined
      this.#offline = false
    } catch (error) {
      if (this.#setup === undefined) return // a folder was chosen meanwhile
      this.#lastError = shown(error)
      this.#offline = OFFLINE_CODES.has(this.#lastError.code)
      clearTimeout(this.#timer)
      this.#timer = setTimeout(() => this.watched(this.#watchers), OFFER_RETRY_MS)
      this.#timer.unref()
    }
    this.#tell({ type: 'changed' })
  }

  /** Looks for updates now and from then on. */
  start({ isAsked = false, checkMinutes = this.#settings.checkMinutes ?? 60 } = {}): void {
    let isFirst = isAsked
    const check = (): void => {
      // Busy, paused or offline: the next check comes.
      void this.begin('update', { isAsked: isFirst }).catch(() => undefined)
      isFirst = false
      this.#timer = setTimeout(check, checkMinutes * 60_000)
      this.#timer.unref()
    }
    this.#policyTimer = setInterval(() => this.applyPolicy(), POLICY_MS)
    this.#policyTimer.unref()
    check()
  }

  /** Ends what runs and looks no more; the client stays. */
  async stop(): Promise<void> {
    clearTimeout(this.#timer)
    clearInterval(this.#policyTimer)
    this.#ahead.stop()
    this.#stop.abort(new LauncherError('LA_PAUSED', 'The launcher is closing'))
    await this.#offer.end()
    await this.#current?.catch(() => undefined)
    this.#otherClient.stop()
    // It lives, and the next launcher must not take it for one that did not.
    await this.#client?.leave().catch(() => undefined)
  }

  #current: Promise<unknown> | undefined
  #pausing = false

  /**
   * Begins an activity and returns at once.
   *
   * @throws LauncherError `LA_LOCKED` while another one runs.
   */
  async begin(activity: Activity, options: BeginOptions = {}): Promise<void> {
    if (this.#setup !== undefined)
      throw new LauncherError('LA_NOT_INSTALLED', `Cannot ${activity}: no folder was chosen yet`)
    if (activity === 'launch' && (await this.#mayStartBeside())) return this.#startBeside(options)
    if (this.#activity !== undefined || this.#isStarting)
      throw new LauncherError(
        'LA_LOCKED',
        `Cannot ${activity}: the launcher is busy with ${this.#activity ?? 'launch'}`,
      )
    this.#activity = activity
    this.#lastError = undefined
    this.#waiting = undefined
    this.#isAsked = options.isAsked === true
    this.#stop = new AbortController()
    this.#tell({ type: 'changed' })
    this.#current = this.#run(activity, options)
    await Promise.resolve()
  }

  /** Whether the installed release can be started beside the update that runs. */
  async #mayStartBeside(): Promise<boolean> {
    if (this.#activity !== 'update' && this.#activity !== 'launch') return false
    if (this.#isStarting || this.#client !== undefined) return false
    const { version, unfinished, state } = await this.#engine.status()
    if (this.#activity === 'launch' && state !== 'fetch') return false // it starts the game by itself just now
    return version !== undefined && unfinished === undefined && !this.#isStarting
  }

  #startBeside({ playInstalled }: BeginOptions): void {
    this.#isStarting = true
    this.#tell({ type: 'changed' })
    void this.#launch(new AbortController().signal, { update: false, playInstalled })
      .catch((error: unknown) => {
        this.#lastError = shown(error)
      })
      .finally(() => {
        this.#isStarting = false
        this.#tell({ type: 'changed' })
      })
  }

  async #work(activity: Activity, options: BeginOptions): Promise<void> {
    const { signal } = this.#stop
    if (activity === 'repair') return this.#note(activity, await this.#engine.repair({ signal }))
    if (activity === 'rollback') return this.#note(activity, await this.#engine.rollback())
    this.#isMetered = await this.#askMetered()
    const mayDownload = (plan: PlanSummary): boolean => this.#mayDownload(plan)
    if (activity === 'launch') return await this.#launch(signal, { playInstalled: options.playInstalled, mayDownload })
    this.#note(activity, await this.#engine.update({ signal, whenRunning: 'wait', mayDownload }))
    this.#offline = false
  }

  async #run(activity: Activity, options: BeginOptions): Promise<void> {
    try {
      await this.#work(activity, options)
    } catch (error) {
      const problem = shown(error)
      // It waits, and says so; or the game was started beside the update of this very start.
      const isBeside = this.#isBeside(activity, problem)
      if (isBeside) this.#isUpdateOwed = true
      const isNone = isBeside || ['LA_PAUSED', 'LA_NOT_NOW'].includes(problem.code)
      this.#lastError = isNone ? undefined : problem
      this.#offline = OFFLINE_CODES.has(problem.code)
    } finally {
      this.#activity = undefined
      this.#tell({ type: 'changed' })
    }
    if (!this.#isUpdateOwed) return void this.#ahead.fetch()
    this.#isUpdateOwed = false
    await this.begin('update').catch(() => undefined) // the next check looks again
  }

  #note(activity: Activity, { outcome, version, downloadedBytes }: UpdateResult): void {
    this.#lastResult = { activity, outcome, version, downloadedBytes }
  }

  #isBeside(activity: Activity, { code }: ShownError): boolean {
    return activity === 'launch' && code === 'LA_LOCKED' && (this.#client !== undefined || this.#isStarting)
  }

  #mayDownload({ version, downloadBytes: bytes }: PlanSummary): boolean {
    const reason = this.#isAsked || bytes <= SMALL_BYTES ? undefined : this.#whyWait(bytes)
    this.#waiting = reason === undefined ? undefined : { reason, version, bytes }
    return reason === undefined
  }

  /** Whether a client runs, started here or by another launcher. */
  get #isPlaying(): boolean {
    return this.#client !== undefined || this.#otherClient.isRunning
  }

  #whyWait(bytes: number): WaitReason | undefined {
    const isPlaying = this.#isPlaying
    return whyWait(this.#settings, { bytes, isPlaying, isMetered: this.#isMetered, now: new Date() })
  }

  /** Begins a download whose time has come, stops one whose time is over, and sets the limit that counts now. */
  applyPolicy(): void {
    const isPlaying = this.#isPlaying
    this.#made?.setLimit(limitFor(this.#settings, { isPlaying, isWatched: this.#watchers > 0 }))
    const waiting = this.#waiting
    if (waiting !== undefined && this.#activity === undefined && this.#whyWait(waiting.bytes) === undefined)
      void this.begin('update').catch(() => undefined)
    // What fails is seen by the next look.
    if (this.#activity === 'update' && !this.#isAsked) void this.#stopIfLate().catch(() => undefined)
    this.#ahead.applyPolicy()
  }

  async #stopIfLate(): Promise<void> {
    const { state, offered, progress } = await this.#engine.status()
    const bytes = Math.max(1, progress.downloadTotalBytes - progress.downloadedBytes)
    const reason = state === 'fetch' ? this.#whyWait(bytes) : undefined
    if (reason !== 'game' && reason !== 'night') return
    this.#waiting = { reason, version: offered ?? '', bytes }
    this.#stop.abort(new LauncherError('LA_PAUSED', 'The download waits'))
  }

  /** Pages that are open now. */
  watched(pages: number): void {
    this.#watchers = pages
    if (pages > 0 && this.#setup !== undefined) void this.#askOffer(this.#setup)
    this.applyPolicy()
  }

  async #launch(signal: AbortSignal, options: LaunchOptions): Promise<void> {
    const started = await this.#engine.launch({ signal, stdio: ['ignore', 'ignore', 'ignore'], ...options })
    this.#client = started
    if (options.update !== false) this.#offline = started.offline
    if (started.update !== undefined) this.#note('update', started.update)
    this.applyPolicy()
    void started.exited.then(() => {
      this.#client = undefined
      this.applyPolicy()
      this.#tell({ type: 'changed' })
    })
  }

  /** Holds downloads, also over a restart. */
  async pause(): Promise<void> {
    this.#pausing = true
    await this.#engine.pause()
    await this.#current?.catch(() => undefined)
    this.#pausing = false
    this.#tell({ type: 'changed' })
  }

  /** Goes on downloading. */
  async resume(): Promise<void> {
    await this.#engine.resume()
    if (this.#pausing) await this.#current?.catch(() => undefined) // asked for before the pause was over
    if (this.#activity === undefined) await this.begin('update', { isAsked: true })
  }

  /** Changes what a page may change; a new limit counts at once, the rest with the next update. */
  async change(settings: OpenSettings, accessCode?: string): Promise<void> {
    const { components } = settings
    const channelChanged = settings.channel !== undefined && settings.channel !== (this.#settings.channel ?? 'stable')
    const choiceChanged = components !== undefined && !isDeepStrictEqual(components, this.#settings.components)
    const isNewEngine = channelChanged || choiceChanged || accessCode !== undefined
    if (isNewEngine && (this.#activity !== undefined || this.#isStarting))
      throw new LauncherError('LA_LOCKED', 'Cannot change channel or components while the launcher is busy')
    // What launchers of old kept as a list gives way to the player's new answers.
    const groups = choiceChanged ? undefined : this.#settings.groups
    const merged = Object.entries({ ...this.#settings, groups, ...settings }).filter(([, value]) => value !== undefined)
    this.#settings = {
      ...withAccessCode(Object.fromEntries(merged) as Settings, accessCode),
      server: this.#settings.server,
      trust: this.#settings.trust,
    }
    if (this.#setup === undefined) await keepSettings(this.#folder, this.#settings, this.#extra.fs)
    if (isNewEngine) this.#made = undefined
    if (settings.reports !== undefined) this.#made?.setReports(settings.reports)
    this.applyPolicy()
    this.#tell({ type: 'changed' })
    if (choiceChanged && this.#setup === undefined) await this.begin('update', { isAsked: true })
  }

  /** Everything the page shows. */
  async snapshot(): Promise<Snapshot> {
    const status =
      this.#setup === undefined ? await this.#engine.status() : untouchedStatus(this.#setup.folder, this.#settings)
    this.#otherClient.saw(this.#client === undefined && !this.#isStarting && status.clientPid !== undefined)
    const isGone = this.#setup === undefined && !existsSync(this.#folder)
    return {
      ...status,
      activity: this.#activity,
      isRunning: this.#isPlaying,
      needsSetup: this.#setup !== undefined,
      offline: this.#offline,
      lastError: isGone ? shown(folderGone(this.#folder)) : this.#lastError,
      lastResult: this.#lastResult,
      waiting: this.#waiting,
      offer: this.#setup === undefined ? undefined : this.#offer.shown,
      settings: openSettings(this.#settings),
    }
  }

  /** A report for the studio's support. */
  async report(launcher: ReportInput['launcher']): Promise<string> {
    const status = this.#setup === undefined ? await this.#engine.status().catch(() => undefined) : undefined
    const known = { folder: this.#folder, settings: this.#settings, status, launcher }
    return await supportReport({ ...known, env: process.env, fetch: this.#extra.fetch, now: new Date() })
  }

  /** How far the present work is. */
  async progress(): Promise<Progress> {
    return (await this.#engine.status()).progress
  }
}

import { KeyturnError } from '@keyturn/primitives'
import { createEngine, keepSettings, LauncherError, toEngineOptions } from '@keyturn/install-engine'
import type {
  Engine,
  EngineEvent,
  EngineOptions,
  EngineStatus,
  LaunchResult,
  Progress,
  Settings,
  UpdateResult,
} from '@keyturn/install-engine'

/** What a page may ask for. */
export type Activity = 'update' | 'repair' | 'rollback' | 'launch'

/** An error as the page shows it. */
export interface ShownError {
  readonly code: string
  readonly message: string
  readonly hint: string | undefined
  readonly kind: string
}

/** Everything the page shows. */
export interface Snapshot extends EngineStatus {
  readonly activity: Activity | undefined
  readonly isRunning: boolean
  readonly offline: boolean
  readonly lastError: ShownError | undefined
  readonly lastResult:
    | {
        readonly activity: Activity
        readonly outcome: string
        readonly version: string | undefined
        readonly downloadedBytes: number
      }
    | undefined
  readonly settings: Pick<Settings, 'channel' | 'limit' | 'language'>
  /** Whether the page asks for a folder first. */
  readonly needsSetup: boolean
}

/** Settings that may be changed from the page: no folder, server, trust or program is among them. */
export interface OpenSettings extends Pick<Settings, 'channel' | 'language'> {
  /** Bytes a second; present and `undefined`: no limit. */
  readonly limit?: number | undefined
}

/** What the first page asks before anything is downloaded. */
export interface Setup {
  /** The folder that is offered. */
  readonly folder: string
  /**
   * Checks and keeps the folder that the player chose.
   *
   * @throws LauncherError `LA_FOLDER` saying what is wrong with it.
   */
  readonly choose: (folder: string) => Promise<string>
}

/** What a supervisor is made with. */
export interface SupervisorOptions {
  readonly folder: string
  /** Present until the player has chosen a folder; nothing is read or downloaded before. */
  readonly setup?: Setup | undefined
  readonly settings: Settings & { readonly server: string; readonly trust: string }
  /** Beyond what settings say: seams for tests. */
  readonly engine?: Partial<EngineOptions>
}

const IDLE_PROGRESS: Progress = {
  phase: 'idle',
  downloadedBytes: 0,
  downloadTotalBytes: 0,
  diskBytes: 0,
  diskTotalBytes: 0,
  files: 0,
  fileTotal: 0,
  bytesPerSecond: 0,
  secondsLeft: undefined,
}

const OFFLINE_CODES = new Set(['LA_NETWORK', 'LA_TIMEOUT', 'LA_HTTP_STATUS'])

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
  #stop = new AbortController()
  #timer: NodeJS.Timeout | undefined
  readonly #listeners = new Set<(event: EngineEvent | { readonly type: 'changed' }) => void>()

  constructor(options: SupervisorOptions) {
    this.#folder = options.folder
    this.#setup = options.setup
    this.#settings = options.settings
    this.#extra = options.engine ?? {}
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
    return this.#activity !== undefined || this.#client !== undefined
  }

  #makeEngine(): Engine {
    return createEngine({
      ...toEngineOptions(this.#folder, this.#settings),
      ...this.#extra,
      onEvent: (event) => this.#tell(event),
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
  async choose(folder: string): Promise<void> {
    const setup = this.#setup
    if (setup === undefined || this.#activity !== undefined)
      throw new LauncherError('LA_LOCKED', 'Cannot choose a folder: the game has one already')
    this.#folder = await setup.choose(folder)
    this.#setup = undefined
    await keepSettings(this.#folder, this.#settings, this.#extra.fs)
    this.start()
  }

  /** Looks for updates now and from then on. */
  start(checkMinutes = this.#settings.checkMinutes ?? 60): void {
    const check = (): void => {
      void this.begin('update').catch(() => undefined) // busy, paused or offline: the next check comes
      this.#timer = setTimeout(check, checkMinutes * 60_000)
      this.#timer.unref()
    }
    check()
  }

  /** Ends what runs and looks no more; the client stays. */
  async stop(): Promise<void> {
    clearTimeout(this.#timer)
    this.#stop.abort(new LauncherError('LA_PAUSED', 'The launcher is closing'))
    await this.#current?.catch(() => undefined)
  }

  #current: Promise<unknown> | undefined
  #pausing = false

  /**
   * Begins an activity and returns at once.
   *
   * @throws LauncherError `LA_LOCKED` while another one runs.
   */
  async begin(activity: Activity, options: { playInstalled?: boolean } = {}): Promise<void> {
    if (this.#setup !== undefined)
      throw new LauncherError('LA_NOT_INSTALLED', `Cannot ${activity}: no folder was chosen yet`)
    if (this.#activity !== undefined)
      throw new LauncherError('LA_LOCKED', `Cannot ${activity}: the launcher is busy with ${this.#activity}`)
    this.#activity = activity
    this.#lastError = undefined
    this.#stop = new AbortController()
    this.#tell({ type: 'changed' })
    this.#current = this.#run(activity, options)
    await Promise.resolve()
  }

  async #run(activity: Activity, options: { playInstalled?: boolean }): Promise<void> {
    const { signal } = this.#stop
    try {
      if (activity === 'launch') await this.#launch(signal, options)
      else
        this.#note(
          activity,
          activity === 'rollback' ? await this.#engine.rollback() : await this.#engine[activity]({ signal }),
        )
      if (activity === 'update') this.#offline = false
    } catch (error) {
      this.#lastError = shown(error)
      this.#offline = OFFLINE_CODES.has(this.#lastError.code)
      if (this.#lastError.code === 'LA_PAUSED') this.#lastError = undefined
    } finally {
      this.#activity = undefined
      this.#tell({ type: 'changed' })
    }
  }

  #note(activity: Activity, { outcome, version, downloadedBytes }: UpdateResult): void {
    this.#lastResult = { activity, outcome, version, downloadedBytes }
  }

  async #launch(signal: AbortSignal, options: { playInstalled?: boolean }): Promise<void> {
    const started = await this.#engine.launch({ signal, stdio: ['ignore', 'ignore', 'ignore'], ...options })
    this.#client = started
    this.#offline = started.offline
    if (started.update !== undefined) this.#note('update', started.update)
    void started.exited.then(() => {
      this.#client = undefined
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
    if (this.#pausing) await this.#current?.catch(() => undefined) // asked for before the pause was through
    if (this.#activity === undefined) await this.begin('update')
  }

  /** Changes what a page may change. A new limit counts at once, a new channel at the next check. */
  async change(settings: OpenSettings): Promise<void> {
    const channelChanged = settings.channel !== undefined && settings.channel !== (this.#settings.channel ?? 'stable')
    if (channelChanged && this.#activity !== undefined)
      throw new LauncherError('LA_LOCKED', 'Cannot change the channel while the launcher is busy')
    const merged = Object.entries({ ...this.#settings, ...settings }).filter(([, value]) => value !== undefined)
    this.#settings = {
      ...(Object.fromEntries(merged) as Settings),
      server: this.#settings.server,
      trust: this.#settings.trust,
    }
    if (this.#setup === undefined) await keepSettings(this.#folder, this.#settings, this.#extra.fs)
    if (channelChanged) this.#made = undefined
    else this.#made?.setLimit(this.#settings.limit)
    this.#tell({ type: 'changed' })
  }

  /** Everything the page shows. */
  async snapshot(): Promise<Snapshot> {
    const status = this.#setup === undefined ? await this.#engine.status() : this.#untouched(this.#setup)
    const { channel = 'stable', limit, language } = this.#settings
    return {
      ...status,
      activity: this.#activity,
      isRunning: this.#client !== undefined,
      needsSetup: this.#setup !== undefined,
      offline: this.#offline,
      lastError: this.#lastError,
      lastResult: this.#lastResult,
      settings: { channel, ...(limit === undefined ? {} : { limit }), ...(language === undefined ? {} : { language }) },
    }
  }

  /** Before a folder is chosen there is nothing to ask the engine, which would make one. */
  #untouched({ folder }: Setup): EngineStatus {
    return {
      folder,
      server: this.#settings.server,
      channel: this.#settings.channel ?? 'stable',
      state: 'idle',
      version: undefined,
      sequence: undefined,
      trust: 'pinned',
      reason: undefined,
      rolesVersion: undefined,
      notes: undefined,
      needsKey: false,
      offered: undefined,
      confirmed: false,
      failedStarts: 0,
      canRollBack: false,
      unfinished: undefined,
      paused: false,
      bytesPerSecond: this.#settings.limit,
      progress: IDLE_PROGRESS,
    }
  }

  /** How far the present work is. */
  async progress(): Promise<Progress> {
    return (await this.#engine.status()).progress
  }
}

function shown(error: unknown): ShownError {
  if (error instanceof KeyturnError)
    return { code: error.code, message: error.message, hint: error.hint, kind: error.kind }
  return {
    code: 'LA_BUG',
    message: error instanceof Error ? error.message : String(error),
    hint: undefined,
    kind: 'bug',
  }
}

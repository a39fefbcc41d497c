import { randomBytes } from 'node:crypto'
import { realpath } from 'node:fs/promises'
import { resolve } from 'node:path'
import { KeyturnError, OneAtATime, PrimitivesError } from '@keyturn/primitives'
import { lockFile, pathExists } from '@keyturn/primitives/node'
import type { Lock } from '@keyturn/primitives/node'
import { diskError, folderGone, LauncherError, takesNothing } from './errors.ts'
import type { ApplyContext } from './place/apply.ts'
import { readSmallFile, writeSmallFile } from './disk/disk.ts'
import type { EngineEventBody, EngineState } from './events.ts'
import { HttpClient } from './fetch/http.ts'
import { layoutOf } from './disk/layout.ts'
import type { Layout } from './disk/layout.ts'
import { readState } from './disk/state-file.ts'
import { LogFile } from './log-file.ts'
import type { LogLevel } from './log-file.ts'
import type { ResolvedOptions } from './options.ts'
import { ProgressMeter } from './progress.ts'
import { RateLimit } from './fetch/rate-limit.ts'
import { prepareFolders, recover } from './place/recover.ts'
import type { Recovery } from './place/recover.ts'
import { Source } from './fetch/source.ts'
import { StepReports } from './step-reports.ts'
import { TrustStore } from './trust/trust-store.ts'

/** How long a note about a start waits for another launcher. */
const ASIDE_WAIT_MS = 10_000

/** What every operation of one engine shares. */
export class Session {
  readonly options: ResolvedOptions
  readonly layout: Layout
  readonly source: Source
  readonly limit: RateLimit
  readonly trust: TrustStore
  readonly reports: StepReports
  meter: ProgressMeter
  state: EngineState = 'idle'
  /** What goes on beside the install while something else holds it. */
  background: EngineState | undefined
  /** Ends the download beside the install, before somebody else uses the staging folder; it begins again by itself. */
  leaveStaging: () => Promise<void> = () => Promise.resolve()
  readonly #log: LogFile | undefined
  readonly #operations = new OneAtATime()
  readonly #staging = new OneAtATime()

  private constructor(options: ResolvedOptions, layout: Layout) {
    this.options = options
    this.layout = layout
    const { monotonic, random, retryPolicy } = options
    const client = new HttpClient(options.fetch, options.http, monotonic)
    this.source = new Source(options.server, client, {
      retry: retryPolicy,
      random,
      monotonic,
      lanMirror: options.lanMirror,
      resolveHost: options.resolveHost,
      accessCode: options.accessCode,
    })
    this.limit = new RateLimit(options.bytesPerSecond, monotonic)
    this.trust = new TrustStore(options.fs, layout, options.trust, options.channel)
    this.reports = new StepReports({
      fs: options.fs,
      fetch: options.fetch,
      server: options.server,
      product: options.product,
      channel: options.channel,
      file: layout.reported,
      isOn: options.reports === true,
    })
    this.#log = options.logFile === false ? undefined : new LogFile(layout.log)
    this.meter = this.#newMeter()
  }

  /** Opens the folder; a link to it is followed once, here, and never below it. */
  static async open(options: ResolvedOptions): Promise<Session> {
    const wanted = resolve(options.folder)
    try {
      if (!(await pathExists(wanted, options.fs))) {
        if (options.makesFolder === false) throw folderGone(wanted)
        await options.fs.mkdir(wanted, { recursive: true })
      }
    } catch (error) {
      throw diskError(error, `use the folder "${wanted}"`)
    }
    return new Session(options, layoutOf(await realpath(wanted)))
  }

  #newMeter(): ProgressMeter {
    return new ProgressMeter(this.options.monotonic, (progress) => this.emit({ type: 'progress', progress }))
  }

  /**
   * Starts counting from zero; `isSame`: but for the bytes that the same operation already brought over the network.
   */
  resetMeter(isSame = false): void {
    const { networkBytes } = this.meter
    this.meter = this.#newMeter()
    if (isSame) this.meter.networkBytes = networkBytes
  }

  /** Sends an event to the listener and the log. */
  readonly emit = (event: EngineEventBody): void => {
    const stamped = { at: this.options.clock(), ...event }
    this.#log?.event(stamped)
    this.options.onEvent?.(stamped)
  }

  /** Writes a line for people who read the log; nobody else is notified. */
  note(level: LogLevel, text: string): void {
    this.#log?.line(this.options.clock(), level, text)
  }

  /** Moves to another state. */
  enter(state: EngineState): void {
    this.state = state
    this.meter.phase = state
    this.emit({ type: 'state', state })
  }

  /** What applying files works with. */
  get apply(): ApplyContext {
    const { fs, lockPatienceMs, linkedFolders } = this.options
    return { fs, layout: this.layout, lockPatienceMs, linkedFolders }
  }

  /**
   * Runs an operation as the only launcher of this install, after whatever a crash left was brought to an end.
   *
   * @throws LauncherError `LA_LOCKED` when another launcher is at work; disk errors as `LA_DISK_FULL`, `LA_IO` ….
   */
  async exclusively<T>(run: (recovery: Recovery) => Promise<T>): Promise<T> {
    return await this.#operations.run(() => this.#alone(run, false))
  }

  /**
   * As {@link exclusively}, for what can do without writing: on a disk that is full or read-only it runs too, unless
   * another launcher is at work or a crash left something to bring to an end.
   */
  async exclusivelyIfNeeded<T>(run: (recovery: Recovery) => Promise<T>): Promise<T> {
    return await this.#operations.run(() => this.#alone(run, true))
  }

  /** Runs something short once nobody is at work here, and keeps everybody from beginning meanwhile. */
  async aside(run: () => Promise<void>): Promise<void> {
    await this.#operations.run(async () => {
      const lock = await lockFile(this.layout.lock, { waitMs: ASIDE_WAIT_MS, fs: this.options.fs })
      await run().finally(() => lock.release())
    })
  }

  /**
   * Runs something as the only one that uses the staging folder. Work that needs the install too takes its lock first.
   *
   * @throws LauncherError `LA_LOCKED` when another launcher downloads for this install.
   */
  async staging<T>(run: () => Promise<T>): Promise<T> {
    return await this.#staging.run(async () => {
      const lock = await lockFile(this.layout.stagingLock, { fs: this.options.fs }).catch((error: unknown) => {
        throw asLocked(error, `Cannot download for "${this.layout.root}": another launcher does so already`)
      })
      try {
        return await run()
      } finally {
        await lock.release()
      }
    })
  }

  async #alone<T>(run: (recovery: Recovery) => Promise<T>, mayOnlyRead: boolean): Promise<T> {
    const { fs, clock } = this.options
    this.enter('lock')
    try {
      await prepareFolders(fs, this.layout, process.getuid?.())
      const lock = await this.#lock(mayOnlyRead)
      try {
        this.enter('recover')
        return await run(await this.#recover(lock, mayOnlyRead))
      } finally {
        await lock?.release()
      }
    } catch (error) {
      const reported = await this.problem(error)
      // For the log alone: the caller gets the error itself.
      if (reported instanceof KeyturnError)
        this.#log?.event({ at: clock(), type: 'notice', code: reported.code, message: reported.message }, 'error')
      throw reported
    } finally {
      this.enter(this.background ?? 'idle')
    }
  }

  /** What an operation ends with: disk errors in words, and whatever follows from an install that was moved away. */
  async problem(error: unknown): Promise<unknown> {
    const reported = diskError(error, 'work on the install')
    if (!(reported instanceof LauncherError) || reported.code !== 'LA_IO') return reported
    return (await pathExists(this.layout.root, this.options.fs)) ? reported : folderGone(this.layout.root, error)
  }

  /**
   * The lock of the install; `undefined` where the disk does not even take that and it is not needed. One that is held
   * is found without writing.
   */
  async #lock(mayOnlyRead: boolean): Promise<Lock | undefined> {
    const { fs, lockWaitMs } = this.options
    try {
      return await lockFile(this.layout.lock, { waitMs: lockWaitMs, fs })
    } catch (error) {
      if (!mayOnlyRead || !takesNothing(error))
        throw asLocked(error, `Cannot work on "${this.layout.root}": another launcher is at work there`)
      const { code, message: why } = diskError(error, 'write to the install') as LauncherError
      this.emit({ type: 'notice', code, message: why })
      return undefined
    }
  }

  /** Brings what a crash left to its end; on a disk that takes nothing only where there is nothing to do. */
  async #recover(lock: Lock | undefined, mayOnlyRead: boolean): Promise<Recovery> {
    const { fs, clock } = this.options
    let full: unknown
    try {
      if (lock !== undefined) return await recover(this.apply, this.emit, clock())
    } catch (error) {
      if (!mayOnlyRead || !takesNothing(error)) throw error
      full = error
    }
    if (await pathExists(this.layout.transaction, fs))
      throw new LauncherError('LA_DISK_FULL', 'Cannot start: an update was cut off, and the disk takes nothing', {
        hint: 'Free some room on that disk, then start again: the update is finished or undone first',
        cause: full,
      })
    const { state } = await readState(fs, this.layout)
    return { state, outcome: 'nothing' }
  }

  /** Nothing goes on beside the install any longer. */
  leaveBackground(): void {
    const { background } = this
    this.background = undefined
    if (background !== undefined && this.state === background) this.enter('idle')
  }

  /** The install's own random name; decides its place in a rollout and never leaves this machine. */
  async installId(): Promise<string> {
    const { fs } = this.options
    const known = await readSmallFile(fs, this.layout.installId, 64)
    const text = known === undefined ? '' : new TextDecoder().decode(known).trim()
    if (/^[0-9a-f]{32}$/.test(text)) return text
    const made = randomBytes(16).toString('hex')
    await writeSmallFile(fs, this.layout.installId, new TextEncoder().encode(`${made}\n`))
    return made
  }
}

function asLocked(error: unknown, message: string): unknown {
  if (!(error instanceof PrimitivesError) || error.code !== 'PRIM_LOCKED') return error
  return new LauncherError('LA_LOCKED', message, { details: error.details, cause: error })
}

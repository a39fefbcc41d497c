import { LauncherError } from '@keyturn/install-engine'
import type { Engine } from '@keyturn/install-engine'
import type { WaitReason } from './download-policy.ts'

/** How often it is asked whether a scheduled release is open, once its time has come, and for how long. */
const OPEN_POLL_MS = 60_000
const OPEN_PATIENCE_MS = 15 * 60_000
/** Launchers do not all ask in the same second. */
const OPEN_SPREAD_MS = 20_000
/** A timer is set again by the next check. */
const LONGEST_TIMER_MS = 24 * 3_600_000

/** What fetching ahead needs of the launcher around it. */
export interface AheadHost {
  readonly engine: () => Engine
  /** Whether nothing else was asked for. */
  readonly isFree: () => boolean
  readonly whyWait: (bytes: number) => WaitReason | undefined
  /** What the page shows has changed. */
  readonly changed: () => void
  /** Looks for an update. */
  readonly look: () => void
}

/** Fetches a scheduled release ahead while nothing else goes on, and looks for it when its hour comes. */
export class Ahead {
  readonly #host: AheadHost
  #running: AbortController | undefined
  #isOwed = false
  #timer: NodeJS.Timeout | undefined

  constructor(host: AheadHost) {
    this.#host = host
  }

  /** Fetches, under the rules for downloads that nobody asked for; what is left comes later. */
  async fetch(): Promise<void> {
    if (!this.#host.isFree() || this.#running !== undefined) return
    const running = new AbortController()
    this.#running = running
    this.#isOwed = false
    try {
      const { outcome } = await this.#host.engine().preload({
        signal: running.signal,
        mayDownload: ({ downloadBytes }) => this.#host.whyWait(downloadBytes) === undefined,
      })
      this.#isOwed = outcome === 'later'
    } catch {
      this.#isOwed = true // nobody waits for it; the log has the reason
    } finally {
      this.#running = undefined
      this.#host.changed()
    }
    await this.#watchHour().catch(() => undefined) // the next check looks again
  }

  /** Stops what may not go on now, and goes on with what may. */
  applyPolicy(): void {
    if (this.#host.whyWait(1) !== undefined) this.#running?.abort(new LauncherError('LA_NOT_NOW', 'The download waits'))
    else if (this.#isOwed) void this.fetch()
  }

  /** Ends it; what was fetched stays. */
  stop(): void {
    clearTimeout(this.#timer)
    this.#running?.abort(new LauncherError('LA_PAUSED', 'The launcher is closing'))
  }

  /** Asks for the release when its time comes: only the server's answer opens it. */
  async #watchHour(): Promise<void> {
    clearTimeout(this.#timer)
    const { next } = await this.#host.engine().status()
    const untilMs = next === undefined ? Number.NaN : Date.parse(next.at) - Date.now()
    if (Number.isNaN(untilMs) || untilMs < -OPEN_PATIENCE_MS || untilMs > LONGEST_TIMER_MS) return
    const waitMs = (untilMs > 0 ? untilMs : OPEN_POLL_MS) + Math.random() * OPEN_SPREAD_MS
    this.#timer = setTimeout(() => this.#host.look(), waitMs)
    this.#timer.unref()
  }
}

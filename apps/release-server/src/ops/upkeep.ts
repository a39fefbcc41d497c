import { describe } from './log.ts'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import { checkStores } from '../releases/fsck.ts'
import { coolReleases } from '../releases/cool.ts'
import { collectGarbage } from '../releases/gc.ts'
import type { RetentionOptions } from '../releases/gc.ts'
import { sweepChecks } from '../releases/release-check.ts'
import { sweepAnswers } from '../http/idempotency.ts'
import { sweepSessions } from '../access/sessions.ts'
import { sweepPackets } from '../keys/packet-limit.ts'
import { sweepDownloads } from '../events/downloads.ts'
import { sweepFunnel } from '../events/funnel.ts'
import { sweepReports } from '../events/reports.ts'
import { sweepUploads } from '../uploads/uploads.ts'
import { OneAtATime } from '@keyturn/primitives'

/** What the server does by itself. */
export interface UpkeepOptions {
  /** How often garbage is collected; default: never. */
  readonly garbageEveryMs?: number | undefined
  /** Newest releases of each channel whose files stay whole, when garbage is collected; default: all. */
  readonly keepWhole?: number | undefined
  /** How often all blobs are read and hashed; default: never. */
  readonly scrubEveryMs?: number | undefined
  /** Bytes a second that a scrub reads at most; default 20 MiB. */
  readonly scrubBytesPerSecond?: number | undefined
}

/** How often leftovers are swept. */
const SWEEP_EVERY_MS = 60 * 60_000
/** Temporary files of writes that died are older than this. */
const DEAD_WRITE_MS = 60 * 60_000

/** Runs garbage collection, scrubbing and sweeping from time to time. */
export class Upkeep {
  readonly #context: ServerContext
  readonly #options: UpkeepOptions
  readonly #retention: RetentionOptions
  readonly #timers: NodeJS.Timeout[] = []
  readonly #stopped = new AbortController()
  readonly #queue = new OneAtATime()

  constructor(context: ServerContext, options: UpkeepOptions, retention: RetentionOptions) {
    this.#context = context
    this.#options = options
    this.#retention = retention
  }

  /** Removes what expired, and what died with the last run. */
  async tidy(): Promise<void> {
    await this.#context.blobs.sweep(this.#context.clock() - DEAD_WRITE_MS)
    await sweepUploads(this.#context)
    await sweepAnswers(this.#context)
    await sweepSessions(this.#context)
    await sweepChecks(this.#context)
    await sweepReports(this.#context)
    await sweepFunnel(this.#context)
    await sweepDownloads(this.#context)
    await sweepPackets(this.#context)
  }

  /** Starts the timers. */
  start(): void {
    const { garbageEveryMs, keepWhole, scrubEveryMs, scrubBytesPerSecond = 20 * 1024 * 1024 } = this.#options
    this.#every(SWEEP_EVERY_MS, 'sweep', () => this.tidy())
    const caller = { actor: 'upkeep', requestId: 'upkeep' }
    if (garbageEveryMs !== undefined)
      this.#every(garbageEveryMs, 'garbage collection', () =>
        collectGarbage(this.#context, { dryRun: false, retention: this.#retention }, caller),
      )
    if (garbageEveryMs !== undefined && keepWhole !== undefined)
      this.#every(garbageEveryMs, 'storing old releases as chunks', () =>
        coolReleases(this.#context, keepWhole, this.#stopped.signal),
      )
    if (scrubEveryMs !== undefined) {
      this.#every(scrubEveryMs, 'scrub', () =>
        checkStores(this.#context, { bytesPerSecond: scrubBytesPerSecond, signal: this.#stopped.signal }, caller),
      )
    }
  }

  /** Stops, after the work that is running. */
  async close(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer)
    this.#stopped.abort()
    await this.#queue.idle()
  }

  #every(ms: number, what: string, work: () => Promise<unknown>): void {
    this.#timers.push(
      setInterval(
        () => {
          this.#queue
            .run(async () => {
              if (this.#stopped.signal.aborted) return
              await work()
            })
            .catch((error: unknown) => {
              // Another replica is doing it: that is as good.
              if (error instanceof ServerError && error.code === 'GC_RUNNING') return
              if (!this.#stopped.signal.aborted) this.#context.log.error({ err: describe(error) }, `${what} failed`)
            })
        },
        Math.min(ms, 2 ** 31 - 1),
      ).unref(),
    )
  }
}

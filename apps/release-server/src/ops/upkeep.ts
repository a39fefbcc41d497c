import { describe } from './log.ts'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import { checkStores } from '../releases/fsck.ts'
import { collectGarbage } from '../releases/gc.ts'
import type { RetentionOptions } from '../releases/gc.ts'
import { sweepChecks } from '../releases/release-check.ts'
import { sweepAnswers } from '../http/idempotency.ts'
import { sweepSessions } from '../access/sessions.ts'
import { sweepUploads } from '../uploads/uploads.ts'

/** What the server does by itself. */
export interface UpkeepOptions {
  /** How often garbage is collected; default: never. */
  readonly garbageEveryMs?: number
  /** How often all blobs are read and hashed; default: never. */
  readonly scrubEveryMs?: number
  /** Bytes a second that a scrub reads at most; default 20 MiB. */
  readonly scrubBytesPerSecond?: number
}

/** Uploads are looked after every hour. */
const sweepEveryMs = 60 * 60_000
/** Temporary files of writes that died are older than this. */
const deadWriteMs = 60 * 60_000

/** Garbage collection, scrubbing and sweeping, from time to time. */
export class Upkeep {
  readonly #context: ServerContext
  readonly #options: UpkeepOptions
  readonly #retention: RetentionOptions
  readonly #timers: NodeJS.Timeout[] = []
  readonly #stopped = new AbortController()
  #running: Promise<unknown> = Promise.resolve()

  constructor(context: ServerContext, options: UpkeepOptions, retention: RetentionOptions) {
    this.#context = context
    this.#options = options
    this.#retention = retention
  }

  /** Clears away what died with the last run. */
  async tidy(): Promise<void> {
    await this.#context.blobs.sweep(this.#context.clock() - deadWriteMs)
    await sweepUploads(this.#context)
    await sweepAnswers(this.#context)
    await sweepSessions(this.#context)
    await sweepChecks(this.#context)
  }

  /** Begins. */
  start(): void {
    const { garbageEveryMs, scrubEveryMs, scrubBytesPerSecond = 20 * 1024 * 1024 } = this.#options
    this.#every(sweepEveryMs, 'sweep', () => this.tidy())
    const caller = { actor: 'upkeep', requestId: 'upkeep' }
    if (garbageEveryMs !== undefined)
      this.#every(garbageEveryMs, 'garbage collection', () =>
        collectGarbage(this.#context, false, this.#retention, caller),
      )
    if (scrubEveryMs !== undefined) {
      this.#every(scrubEveryMs, 'scrub', () =>
        checkStores(this.#context, { bytesPerSecond: scrubBytesPerSecond, signal: this.#stopped.signal }, caller),
      )
    }
  }

  /** Stops, after what runs at the moment. */
  async close(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer)
    this.#stopped.abort()
    await this.#running
  }

  #every(ms: number, what: string, work: () => Promise<unknown>): void {
    this.#timers.push(
      setInterval(
        () => {
          this.#running = this.#running
            .then(async () => {
              if (this.#stopped.signal.aborted) return
              await work()
            })
            .catch((error: unknown) => {
              // Another replica is at it: that is as good.
              if (error instanceof ServerError && error.code === 'GC_RUNNING') return
              if (!this.#stopped.signal.aborted) this.#context.log.error({ err: describe(error) }, `${what} failed`)
            })
        },
        Math.min(ms, 2 ** 31 - 1),
      ).unref(),
    )
  }
}

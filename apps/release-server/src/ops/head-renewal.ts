import { KeyturnError, OneAtATime } from '@keyturn/primitives'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import { channels } from '../releases/channels.ts'
import { renewHead } from '../releases/rollout.ts'
import type { HeadSigner } from '../releases/rollout.ts'
import { describe } from './log.ts'

/** How often heads are looked at, for what is due and what the signer has not seen yet. */
const LOOK_EVERY_MS = 60_000
const CALLER = { actor: 'head-signer', requestId: 'renewal' }

/**
 * Keeps heads from running out: with a head signer, each is renewed once half of its life is over, so that a server
 * that was off for a while, or a signer that has to be repaired, costs nobody an update.
 */
export class HeadRenewal {
  readonly #context: ServerContext
  readonly #signer: HeadSigner | undefined
  readonly #queue = new OneAtATime()
  readonly #failures = new Map<string, string>()
  /** The head of a channel that the signer has seen, by its SHA-256. */
  readonly #seen = new Map<string, string>()
  #timer: NodeJS.Timeout | undefined
  #unsubscribe: (() => void) | undefined
  #closed = false

  constructor(context: ServerContext, signer: HeadSigner | undefined) {
    this.#context = context
    this.#signer = signer
  }

  /** Why the last renewal of a channel failed, by `<product>/<channel>`. */
  get failures(): ReadonlyMap<string, string> {
    return this.#failures
  }

  /** Whether a head signer can be reached. */
  async connected(): Promise<boolean> {
    const signer = this.#signer
    return signer !== undefined && ((await signer.connected?.()) ?? true)
  }

  /** Looks now, and from then on whenever something is published, and from time to time. */
  start(): void {
    if (this.#signer === undefined) return
    const look = (): void => void this.look()
    this.#timer = setInterval(look, LOOK_EVERY_MS).unref()
    this.#unsubscribe = this.#context.metadata.subscribe((topic) => {
      if (topic === 'documents') look()
    })
    look()
  }

  /** Stops, after the renewal that is running. */
  async close(): Promise<void> {
    this.#closed = true
    clearInterval(this.#timer)
    this.#unsubscribe?.()
    await this.#queue.idle()
  }

  /** Looks at each channel once: renews what is due, and shows the signer what is on offer. */
  look(): Promise<void> {
    return this.#queue.run(async () => {
      if (this.#closed || this.#signer === undefined) return
      // One that comes back may have lost what it remembered.
      if (!(await this.connected())) return this.#seen.clear()
      const all = await channels.all(this.#context.metadata)
      for (const { key, value } of all) {
        if (this.#closed) return
        const { product, channel, head } = value
        if (head !== null) await this.#lookAt(this.#signer, key, { product, channel, ...head })
      }
    })
  }

  async #lookAt(
    signer: HeadSigner,
    key: string,
    head: { product: string; channel: string; sha256: string; issued_at: string; expires_at: string },
  ): Promise<void> {
    const { product, channel } = head
    try {
      if (isDue(head, this.#context.clock())) {
        const renewed = await renewHead(this.#context, signer, head, CALLER)
        if (renewed !== undefined)
          this.#context.log.info({ product, channel, head: renewed.head?.sequence }, 'head renewed')
      } else if (this.#seen.get(key) !== head.sha256) {
        await signer.watch?.(product, channel)
        this.#seen.set(key, head.sha256)
      }
      this.#failures.delete(key)
    } catch (error) {
      // Another replica, or the publisher, was faster: that is as good.
      if (error instanceof ServerError && error.code === 'PUB_STALE') return
      this.#failures.set(key, error instanceof KeyturnError ? error.code : 'SRV_INTERNAL')
      this.#context.log.warn({ product, channel, err: describe(error) }, 'the head signer did not renew the head')
    }
  }
}

function isDue({ issued_at, expires_at }: { issued_at: string; expires_at: string }, nowMs: number): boolean {
  const [from, until] = [Date.parse(issued_at), Date.parse(expires_at)]
  return until - nowMs < (until - from) / 2
}

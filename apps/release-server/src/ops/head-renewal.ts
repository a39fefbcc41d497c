import { KeyturnError, OneAtATime } from '@keyturn/primitives'
import type { WantedHead } from '@keyturn/release-client'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import { channels } from '../releases/channels.ts'
import { makeWaitingHalt, renewHead } from '../releases/rollout.ts'
import type { HeadSigner } from '../releases/rollout.ts'
import { describe } from './log.ts'

/** How often heads are looked at, for what is due and what the signer has not seen yet. */
const LOOK_EVERY_MS = 60_000
/** How often while a halt waits for the signer. */
const LOOK_AGAIN_MS = 5_000
/** A request younger than this may still be at the signer, for the person who made it. */
const AT_THE_SIGNER_MS = 20_000
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
  /** Halts that wait for the signer, by channel; and when the one that a person did not confirm was asked for. */
  readonly #waiting = new Set<string>()
  readonly #unconfirmed = new Map<string, string>()
  #timers: readonly NodeJS.Timeout[] = []
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
    const lookAgain = (): void => void (this.#waiting.size > 0 && look())
    this.#timers = [setInterval(look, LOOK_EVERY_MS).unref(), setInterval(lookAgain, LOOK_AGAIN_MS).unref()]
    this.#unsubscribe = this.#context.metadata.subscribe((topic) => {
      if (topic === 'documents') look()
    })
    look()
  }

  /** Stops, after the renewal that is running. */
  async close(): Promise<void> {
    this.#closed = true
    for (const timer of this.#timers) clearInterval(timer)
    this.#unsubscribe?.()
    await this.#queue.idle()
  }

  /** Looks at each channel once: renews what is due, and shows the signer what is on offer. */
  look(): Promise<void> {
    return this.#queue.run(async () => {
      if (this.#closed || this.#signer === undefined) return
      const all = await channels.all(this.#context.metadata)
      this.#waiting.clear()
      for (const { key, value } of all) if (value.wanted?.action === 'halt') this.#waiting.add(key)
      // One that comes back may have lost what it remembered, and may ask its person again.
      if (!(await this.connected())) {
        this.#seen.clear()
        return this.#unconfirmed.clear()
      }
      for (const { key, value } of all) {
        if (this.#closed) return
        const { product, channel, head, wanted } = value
        if (head !== null) await this.#lookAt(this.#signer, key, { product, channel, wanted, ...head })
      }
    })
  }

  async #lookAt(signer: HeadSigner, key: string, head: ShownHead): Promise<void> {
    const { product, channel } = head
    try {
      const nowMs = this.#context.clock()
      if (this.#isHaltDue(key, head, nowMs)) {
        await this.#halt(signer, key, head)
      } else if (isDue(head, nowMs)) {
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
      this.#context.log.warn({ product, channel, err: describe(error) }, 'the head signer did not sign a head')
    }
  }

  /** Whether a halt waits that nobody is signing now. A head that has expired is renewed first: see signWantedHead. */
  #isHaltDue(key: string, { wanted, expires_at: end }: ShownHead, nowMs: number): boolean {
    if (wanted?.action !== 'halt' || this.#unconfirmed.get(key) === wanted.asked_at) return false
    return Date.parse(end) > nowMs && nowMs - Date.parse(wanted.asked_at) >= AT_THE_SIGNER_MS
  }

  async #halt(signer: HeadSigner, key: string, { product, channel, wanted }: ShownHead): Promise<void> {
    const halted = await makeWaitingHalt(this.#context, signer, { product, channel }, CALLER)
    if (halted !== undefined)
      return this.#context.log.warn({ product, channel, asked_by: wanted?.asked_by }, 'a halt that waited was signed')
    this.#unconfirmed.set(key, wanted?.asked_at ?? '')
  }
}

/** What a channel shows, and what was asked for on it. */
interface ShownHead {
  readonly product: string
  readonly channel: string
  readonly wanted: WantedHead | null
  readonly sha256: string
  readonly issued_at: string
  readonly expires_at: string
}

function isDue({ issued_at, expires_at }: ShownHead, nowMs: number): boolean {
  const [from, until] = [Date.parse(issued_at), Date.parse(expires_at)]
  return until - nowMs < (until - from) / 2
}

import { rm } from 'node:fs/promises'
import { createEngine } from '@keyturn/install-engine'
import type { EngineOptions, Offer } from '@keyturn/install-engine'
import type { Snapshot } from './snapshot.ts'

/** What the server offers before the player has chosen a folder: verified, and nothing of the game downloaded. */
export class FirstOffer {
  readonly #stop = new AbortController()
  #asking: Promise<void> | undefined
  #offer: Offer | undefined

  /** What came; `undefined` until then. */
  get value(): Offer | undefined {
    return this.#offer
  }

  /** What the page shows: the list of files is long, and of no use there. */
  get shown(): Snapshot['offer'] {
    if (this.#offer === undefined) return undefined
    const { version, notes, bytes, components } = this.#offer
    return { version, notes, bytes, components }
  }

  /** Asks once; after a failure, again when called again. */
  async ask(options: EngineOptions): Promise<void> {
    if (this.#offer !== undefined || this.#asking !== undefined || this.#stop.signal.aborted) return
    const engine = createEngine({ ...options, logFile: false })
    this.#asking = engine
      .offer({ signal: this.#stop.signal })
      .then((offer) => {
        this.#offer = offer
      })
      .finally(() => {
        this.#asking = undefined
      })
    await this.#asking
  }

  /** Ends, and removes what was kept for it. */
  async end(folder?: string): Promise<void> {
    this.#stop.abort()
    await this.#asking?.catch(() => undefined)
    if (folder !== undefined) await rm(folder, { recursive: true, force: true })
  }
}

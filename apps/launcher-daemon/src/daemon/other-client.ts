const LOOK_MS = 2_000

/** What looking for a client needs of the launcher around it. */
export interface OtherClientHost {
  /** Process of the client that runs from the install, started by any launcher. */
  readonly findClient: () => Promise<number | undefined>
  readonly changed: () => void
}

/**
 * A client that this launcher did not start: another one did, or this one before it was killed. It is noticed when the
 * page is shown, and from then on its end is.
 */
export class OtherClient {
  readonly #host: OtherClientHost
  #timer: NodeJS.Timeout | undefined

  constructor(host: OtherClientHost) {
    this.#host = host
  }

  /** Whether one ran when it was last looked. */
  get isRunning(): boolean {
    return this.#timer !== undefined
  }

  /** Takes what was just found. */
  saw(isRunning: boolean): void {
    if (isRunning === this.isRunning) return
    clearInterval(this.#timer)
    this.#timer = isRunning ? setInterval(() => void this.#look().catch(() => undefined), LOOK_MS) : undefined
    this.#timer?.unref()
  }

  async #look(): Promise<void> {
    if ((await this.#host.findClient()) !== undefined) return
    this.saw(false)
    this.#host.changed()
  }

  stop(): void {
    this.saw(false)
  }
}

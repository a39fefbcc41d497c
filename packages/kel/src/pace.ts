/** Gives way to other work of the process: `setImmediate` of `node:timers/promises`, or `scheduler.yield()`. */
export type Pause = () => Promise<unknown>

/** Bytes of messages between two pauses: some 200 signatures at most, a few milliseconds of work each 100. */
const BYTES_BETWEEN_PAUSES = 8 * 1024

/** Counts the work of a long verification, and says when it should give way. */
export class Pace {
  readonly #pause: Pause | undefined
  #bytes = 0

  /** @param pause - Undefined: never gives way. */
  constructor(pause: Pause | undefined) {
    this.#pause = pause
  }

  /** Counts a message; true when a pause should follow. */
  isDue(bytes: number): boolean {
    this.#bytes += bytes
    return this.#pause !== undefined && this.#bytes >= BYTES_BETWEEN_PAUSES
  }

  async pause(): Promise<void> {
    this.#bytes = 0
    await this.#pause?.()
  }
}

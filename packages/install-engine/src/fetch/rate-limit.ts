/** A token bucket that all downloads of one engine share; its rate may change while they run. */
export class RateLimit {
  #bytesPerSecond: number | undefined
  #tokens = 0
  #filledAt: number
  readonly #monotonic: () => number
  readonly #wakers = new Set<() => void>()

  /**
   * @param bytesPerSecond - `undefined`: no limit.
   * @param monotonic - Milliseconds that never run backwards.
   */
  constructor(bytesPerSecond: number | undefined, monotonic: () => number) {
    this.#bytesPerSecond = bytesPerSecond
    this.#monotonic = monotonic
    this.#filledAt = monotonic()
  }

  /** Bytes a second, `undefined` when there is no limit. */
  get bytesPerSecond(): number | undefined {
    return this.#bytesPerSecond
  }

  /** Changes the limit; downloads that wait notice at once. */
  set(bytesPerSecond: number | undefined): void {
    if (bytesPerSecond !== undefined && !(bytesPerSecond > 0))
      throw new RangeError('A limit is a positive number of bytes a second')
    this.#bytesPerSecond = bytesPerSecond
    this.#filledAt = this.#monotonic()
    this.#tokens = 0 // what was owed at the old rate is forgiven
    for (const wake of this.#wakers) wake()
    this.#wakers.clear()
  }

  #fill(rate: number): void {
    const now = this.#monotonic()
    this.#tokens = Math.min(rate / 4, this.#tokens + ((now - this.#filledAt) / 1000) * rate)
    this.#filledAt = now
  }

  /** Takes `count` bytes that have arrived, then waits until they fit the rate. */
  async take(count: number, signal?: AbortSignal): Promise<void> {
    if (this.#bytesPerSecond === undefined) return
    this.#fill(this.#bytesPerSecond)
    this.#tokens -= count
    while (this.#bytesPerSecond !== undefined) {
      this.#fill(this.#bytesPerSecond)
      if (this.#tokens >= 0) return
      await this.#sleep(Math.min(1_000, (-this.#tokens / this.#bytesPerSecond) * 1000), signal)
    }
  }

  #sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const done = (): void => {
        clearTimeout(timer)
        this.#wakers.delete(done)
        signal?.removeEventListener('abort', stop)
        resolve()
      }
      const stop = (): void => {
        done()
        reject(signal?.reason as Error)
      }
      const timer = setTimeout(done, Math.max(1, ms))
      this.#wakers.add(done)
      signal?.addEventListener('abort', stop, { once: true })
    })
  }
}

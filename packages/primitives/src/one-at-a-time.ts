/** Runs pieces of asynchronous work one after the other, in the order they were asked for. */
export class OneAtATime {
  #last: Promise<unknown> = Promise.resolve()

  /**
   * Runs `work` once everything asked for before has ended, well or badly.
   *
   * @returns What `work` returns; its error goes to this caller alone.
   */
  run<T>(work: () => Promise<T> | T): Promise<T> {
    const running = this.#last.then(() => work())
    this.#last = running.catch(() => undefined)
    return running
  }

  /** Resolves once everything asked for so far has ended; never rejects. */
  async idle(): Promise<void> {
    await this.#last
  }
}

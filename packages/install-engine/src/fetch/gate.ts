/** Lets a number of tasks through at a time; the rest wait in order. */
export class Gate {
  readonly width: number
  #open: number
  readonly #waiting: (() => void)[] = []

  /** @param width - Tasks at a time. */
  constructor(width: number) {
    if (!Number.isInteger(width) || width < 1) throw new RangeError('A gate lets at least one through')
    this.width = width
    this.#open = width
  }

  /** Runs a task when its turn comes. */
  async run<T>(task: () => Promise<T>): Promise<T> {
    if (this.#open > 0) this.#open -= 1
    else await new Promise<void>((resolve) => this.#waiting.push(resolve))
    try {
      return await task()
    } finally {
      const next = this.#waiting.shift()
      if (next === undefined) this.#open += 1
      else next()
    }
  }
}

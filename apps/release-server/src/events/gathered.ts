import type { ServerContext } from '../context.ts'
import type { Collection } from '../storage/collection.ts'

const FLUSH_MS = 2000

/** What is gathered, and where it is stored. */
export interface GatheredOptions<Line> {
  /** Records of the counts, in a collection of that name; the name is the lock, too. */
  readonly lines: Collection<Line>
  /** A line on which nothing was counted. */
  readonly nothing: Line
  /** Puts two lines together. */
  readonly add: (one: Line, other: Line) => Line
}

/** Counts that gather in memory and are stored every two seconds. What cannot be stored is kept for the next time. */
export class Gathered<Line> {
  readonly #context: ServerContext
  readonly #options: GatheredOptions<Line>
  readonly #waiting = new Map<string, Line>()
  #timer: NodeJS.Timeout | undefined

  constructor(context: ServerContext, options: GatheredOptions<Line>) {
    this.#context = context
    this.#options = options
  }

  /** Counts a line under a key. */
  count(key: string, line: Line): void {
    this.#add(key, line)
    this.#timer ??= setTimeout(
      () =>
        void this.flush().catch((error: unknown) =>
          this.#context.log.warn({ err: String(error) }, 'reports could not be stored'),
        ),
      FLUSH_MS,
    ).unref()
  }

  /** Stores what was counted. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const counted = [...this.#waiting]
    if (counted.length === 0) return
    this.#waiting.clear()
    try {
      await this.#store(counted)
    } catch (error) {
      for (const [key, line] of counted) this.#add(key, line)
      throw error
    }
  }

  async #store(counted: readonly (readonly [key: string, line: Line])[]): Promise<void> {
    const { lines, nothing, add } = this.#options
    const keys = counted.map(([key]) => key)
    await this.#context.metadata.transaction([lines.name], async (records) => {
      const stored = await lines.getMany(records, keys)
      const old = new Map(stored.map(({ key, value }) => [key, value]))
      await lines.put(records, ...counted.map(([key, line]) => ({ key, value: add(old.get(key) ?? nothing, line) })))
    })
  }

  #add(key: string, line: Line): void {
    const { nothing, add } = this.#options
    this.#waiting.set(key, add(this.#waiting.get(key) ?? nothing, line))
  }
}

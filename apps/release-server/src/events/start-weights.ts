/** Addresses that are remembered in a day; starts of further ones do not weigh. */
const MAX_REMEMBERED = 100_000
const DAY_MS = 86_400_000

/** What became of a start. */
export type StartOutcome = 'lived' | 'died'

/**
 * Whether a reported start weighs in the confirm rate. Anybody may report, so an address weighs once a day for a
 * release and an outcome: moving the rate takes many addresses. Remembered in memory, for this day.
 */
export class StartWeights {
  readonly #clock: () => number
  readonly #taken = new Set<string>()
  #day = 0

  constructor(clock: () => number) {
    this.#clock = clock
  }

  /** Takes the one start that an address has. */
  take(address: string, release: string, outcome: StartOutcome): boolean {
    const day = Math.floor(this.#clock() / DAY_MS)
    if (day !== this.#day) this.#taken.clear()
    this.#day = day
    const key = `${outcome} ${address} ${release}`
    if (this.#taken.has(key) || this.#taken.size >= MAX_REMEMBERED) return false
    this.#taken.add(key)
    return true
  }
}

/** Upper BOUNDS_S of the buckets of durations, in seconds. */
const BOUNDS_S = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

interface Histogram {
  readonly buckets: number[]
  sum: number
  count: number
}

/** Counts what happens and writes it in the text format of Prometheus. */
export class Metrics {
  readonly #counters = new Map<string, number>()
  readonly #busy = new Map<string, { value: number }>()
  readonly #histograms = new Map<string, Histogram>()
  readonly #gauges = new Map<string, () => number>()

  /** Adds to a counter; `labels` in the form `method="GET",status="200"`. */
  count(name: string, labels: string, by = 1): void {
    const key = `${name}{${labels}}`
    this.#counters.set(key, (this.#counters.get(key) ?? 0) + by)
  }

  /** A counter that is counted all the time: its name is put together once. */
  counter(name: string, labels: string): () => void {
    const cell = { value: 0 }
    this.#busy.set(`${name}{${labels}}`, cell)
    return () => {
      cell.value += 1
    }
  }

  /** Notes a duration. */
  observe(name: string, seconds: number): void {
    let histogram = this.#histograms.get(name)
    if (histogram === undefined) {
      histogram = { buckets: BOUNDS_S.map(() => 0), sum: 0, count: 0 }
      this.#histograms.set(name, histogram)
    }
    const at = BOUNDS_S.findIndex((bound) => seconds <= bound)
    if (at !== -1) histogram.buckets[at] = (histogram.buckets[at] ?? 0) + 1
    histogram.sum += seconds
    histogram.count += 1
  }

  /** Adds a value that is read when asked for. */
  gauge(name: string, read: () => number): void {
    this.#gauges.set(name, read)
  }

  /** Everything, as `/metrics` answers. */
  text(): string {
    const lines: string[] = []
    const families = new Set<string>()
    const all = [...this.#counters, ...[...this.#busy].map(([key, { value }]): [string, number] => [key, value])]
    for (const [key, value] of all.sort()) {
      const family = key.slice(0, key.indexOf('{'))
      if (!families.has(family)) lines.push(`# TYPE ${family} counter`)
      families.add(family)
      lines.push(`${key} ${value}`)
    }
    for (const [name, { buckets, sum, count }] of this.#histograms) {
      lines.push(`# TYPE ${name} histogram`)
      let total = 0
      for (const [at, bound] of BOUNDS_S.entries()) {
        total += buckets[at] ?? 0
        lines.push(`${name}_bucket{le="${bound}"} ${total}`)
      }
      lines.push(`${name}_bucket{le="+Inf"} ${count}`, `${name}_sum ${sum}`, `${name}_count ${count}`)
    }
    for (const [name, read] of this.#gauges) lines.push(`# TYPE ${name} gauge`, `${name} ${read()}`)
    return `${lines.join('\n')}\n`
  }
}

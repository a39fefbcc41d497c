/** Time of two pieces of work, measured in turns so that both meet the same noise. */
export interface Ratio {
  readonly limitMicros: number
  readonly oursMicros: number
  /** Median over the rounds of ours / limit. */
  readonly ratio: number
}

function timeOf(work: () => unknown, times: number): number {
  const start = process.hrtime.bigint()
  for (let n = 0; n < times; n++) work()
  return Number(process.hrtime.bigint() - start) / 1000 / times
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN
}

/** Measures `ours` against `limit`, each in batches of about `batchMs`. */
export function measureRatio(limit: () => unknown, ours: () => unknown, rounds = 61, batchMs = 4): Ratio {
  for (let n = 0; n < 200; n++) {
    limit()
    ours()
  }
  const once = Math.max(timeOf(limit, 20), timeOf(ours, 20))
  const times = Math.max(1, Math.round((batchMs * 1000) / once))
  const pairs = Array.from({ length: rounds }, (_, round) => {
    // First one, then the other: neither always runs with a warm cache or right after a collection.
    if (round % 2 === 0) return { limit: timeOf(limit, times), ours: timeOf(ours, times) }
    const ourTime = timeOf(ours, times)
    return { limit: timeOf(limit, times), ours: ourTime }
  })
  return {
    limitMicros: median(pairs.map((pair) => pair.limit)),
    oursMicros: median(pairs.map((pair) => pair.ours)),
    ratio: median(pairs.map((pair) => pair.ours / pair.limit)),
  }
}

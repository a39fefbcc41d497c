/** Time of two pieces of work, measured in turns so that both meet the same noise. */
export interface Ratio {
  readonly limitMicros: number
  readonly oursMicros: number
  readonly ratio: number
}

function timeOf(work: () => unknown, times: number): number {
  const start = process.hrtime.bigint()
  for (let n = 0; n < times; n++) work()
  return Number(process.hrtime.bigint() - start) / 1000 / times
}

function lowTenth(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 10)] ?? Number.NaN
}

/**
 * Measures `ours` against `limit` in batches of about `batchMs` each, and compares the best tenth of both: on a busy
 * machine the rest measures the neighbours.
 */
export function measureRatio(limit: () => unknown, ours: () => unknown, rounds = 60, batchMs = 3): Ratio {
  const limitTimes = batchSize(limit, batchMs)
  const ourTimes = batchSize(ours, batchMs)
  const pairs = Array.from({ length: rounds }, () => ({
    limit: timeOf(limit, limitTimes),
    ours: timeOf(ours, ourTimes),
  }))
  const limitMicros = lowTenth(pairs.map((pair) => pair.limit))
  const oursMicros = lowTenth(pairs.map((pair) => pair.ours))
  return { limitMicros, oursMicros, ratio: oursMicros / limitMicros }
}

function batchSize(work: () => unknown, batchMs: number): number {
  for (let n = 0; n < 300; n++) work()
  return Math.max(1, Math.round((batchMs * 1000) / timeOf(work, 30)))
}

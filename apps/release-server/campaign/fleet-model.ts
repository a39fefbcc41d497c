/** A document that every check of a launcher asks for. */
export interface CheckedDocument {
  readonly name: string
  /** Seconds that a cache may answer it from memory. */
  readonly freshSeconds: number
  /** Bytes of a whole answer, head included. */
  readonly bytes: number
}

/** What is simulated. */
export interface FleetOptions {
  readonly launchers: number
  /** Share of launchers that are on, for each hour of the day. */
  readonly on: readonly number[]
  /** Checks of a launcher that is on, per hour. */
  readonly checksPerHour: number
  /** Caches of the CDN that ask the origin; 0: none. */
  readonly caches: number
  readonly documents: readonly CheckedDocument[]
  /** Hour in which something is published; undefined: a quiet day. */
  readonly publishedAt?: number | undefined
  /** Bytes that a launcher downloads then. */
  readonly downloadBytes: number
  /** Documents and indexes of an update. */
  readonly updateRequests: number
  /** Mean bytes of a request for ranges. */
  readonly rangeBytes: number
  readonly random: () => number
}

/** One hour of the day. */
export interface FleetHour {
  readonly hour: number
  /** At the CDN, or at the origin where there is none. */
  readonly requests: number
  readonly bytes: number
  readonly originRequests: number
  readonly originBytes: number
  /** Launchers that have what was published, at the end of the hour. */
  readonly updated: number
}

/** Bytes of an answer that says "not changed". */
const UNCHANGED_BYTES = 250
const SECONDS = 3600

/** A random number of events where `mean` are expected. */
function poisson(mean: number, random: () => number): number {
  // For many events the normal distribution is as good.
  if (mean > 50) {
    const radius = Math.sqrt(-2 * Math.log(1 - random()))
    return Math.max(0, Math.round(mean + Math.sqrt(mean) * radius * Math.cos(2 * Math.PI * random())))
  }
  const limit = Math.exp(-mean)
  let count = 0
  for (let product = random(); product > limit; product *= random()) count += 1
  return count
}

interface Cache {
  /** Second at which each document is asked for again. */
  readonly until: number[]
  /** Whether it has the documents, and the bytes, of what was published. */
  readonly isNew: boolean[]
  hasBytes: boolean
}

/**
 * Simulates a day second by second: launchers check at random, each cache of the CDN asks the origin once for what it
 * does not have or may not show any more, and who checks after the publication downloads once.
 */
export function simulateFleet(options: FleetOptions): FleetHour[] {
  const { launchers, documents, publishedAt } = options
  const count = Math.max(1, options.caches)
  const fresh = (): Cache => ({
    until: documents.map(() => 0),
    isNew: documents.map(() => false),
    hasBytes: false,
  })
  const caches = Array.from({ length: count }, fresh)
  let waiting = publishedAt === undefined ? 0 : launchers
  return options.on.map((share, hour) => {
    const tally = { requests: 0, bytes: 0, originRequests: 0, originBytes: 0 }
    const mean = (launchers * share * options.checksPerHour) / SECONDS / count
    const isPublished = publishedAt !== undefined && hour >= publishedAt
    for (let second = 0; second < SECONDS; second += 1) {
      for (const cache of caches) {
        const checks = poisson(mean, options.random)
        if (checks === 0) continue
        checkDocuments(options, cache, { checks, now: hour * SECONDS + second, isPublished }, tally)
        if (!isPublished) continue
        const updates = poisson((checks * waiting) / launchers, options.random)
        waiting = Math.max(0, waiting - updates)
        update(options, cache, updates, tally)
      }
    }
    if (options.caches === 0) Object.assign(tally, { originRequests: tally.requests, originBytes: tally.bytes })
    return { hour, ...tally, updated: publishedAt === undefined ? 0 : launchers - waiting }
  })
}

type Tally = { requests: number; bytes: number; originRequests: number; originBytes: number }

function checkDocuments(
  { documents }: FleetOptions,
  cache: Cache,
  { checks, now, isPublished }: { readonly checks: number; readonly now: number; readonly isPublished: boolean },
  tally: Tally,
): void {
  for (const [at, { freshSeconds, bytes }] of documents.entries()) {
    tally.requests += checks
    tally.bytes += checks * UNCHANGED_BYTES
    if ((cache.until[at] ?? 0) > now) continue
    const isChanged = isPublished && cache.isNew[at] !== true
    tally.originRequests += 1
    tally.originBytes += isChanged ? bytes : UNCHANGED_BYTES
    if (isChanged) cache.isNew[at] = true
    cache.until[at] = now + freshSeconds
  }
}

function update(options: FleetOptions, cache: Cache, updates: number, tally: Tally): void {
  if (updates === 0) return
  const requests = options.updateRequests + Math.ceil(options.downloadBytes / options.rangeBytes)
  tally.requests += updates * requests
  tally.bytes += updates * options.downloadBytes
  if (cache.hasBytes) return
  cache.hasBytes = true
  tally.originRequests += requests
  tally.originBytes += options.downloadBytes
}

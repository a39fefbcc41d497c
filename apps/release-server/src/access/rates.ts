import type { IncomingMessage } from 'node:http'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { ServerError } from '../errors.ts'
import { maxLogBytes } from '../limits.ts'

/** Requests per minute of one kind from one caller. */
export interface RateOptions {
  /** Documents of the public tree, per address; default 600. */
  readonly publicPerMinute?: number
  /** Management calls, per token (per address without one); default 120; uploads and missing-blob queries do not count. */
  readonly managementPerMinute?: number
  /** Logins, per address; default 10. */
  readonly loginPerMinute?: number
  /** Telemetry reports, per address; default 30. */
  readonly reportsPerMinute?: number
  /** Runtime key exchanges, per address; default 60. */
  readonly noisePerMinute?: number
  /** Take the caller's address from `X-Forwarded-For`: only behind a proxy that sets it. */
  readonly trustProxy?: boolean
}

interface Bucket {
  windowStart: number
  count: number
}

const windowMs = 60_000
const maxCallers = 100_000

/** Counts requests per caller and minute; in memory, per process: a balancer in front sees to the rest. */
export class RateLimits {
  readonly #options: RateOptions
  readonly #clock: () => number
  readonly #buckets = new Map<string, Bucket>()
  readonly #readers = new Map<string, Bucket>()

  constructor(options: RateOptions, clock: () => number) {
    this.#options = options
    this.#clock = clock
  }

  /** Seconds a reader of the public tree has to wait; 0: none. */
  publicWait(request: IncomingMessage): number {
    return this.#count(this.#readers, this.address(request), this.#options.publicPerMinute ?? 600)
  }

  /** Counts a request of the framework; throws `SRV_RATE` beyond the limit and sets the `RateLimit` headers. */
  check(request: FastifyRequest, reply: FastifyReply): void {
    const kind = request.routeOptions.config.rate ?? 'management'
    if (kind === 'none' || request.routeOptions.config.upload === true) return
    const limit = {
      public: this.#options.publicPerMinute ?? 600,
      login: this.#options.loginPerMinute ?? 10,
      reports: this.#options.reportsPerMinute ?? 30,
      noise: this.#options.noisePerMinute ?? 60,
      management: this.#options.managementPerMinute ?? 120,
    }[kind]
    const key = `${kind}:${this.#caller(request, kind)}`
    const waitS = this.#count(this.#buckets, key, limit, weightOf(request))
    const left = Math.max(0, limit - (this.#buckets.get(key)?.count ?? 0))
    reply.header('ratelimit', `limit=${limit}, remaining=${left}, reset=${waitS === 0 ? 60 : waitS}`)
    if (waitS > 0) throw new ServerError('SRV_RATE', 'Too many requests', { details: { retryAfterS: waitS } })
  }

  /** Address of a caller, as far as the deployment lets it be known. */
  address(request: IncomingMessage): string {
    const forwarded = this.#options.trustProxy === true ? request.headers['x-forwarded-for'] : undefined
    const last = typeof forwarded === 'string' ? forwarded.split(',').at(-1)?.trim() : undefined
    return last ?? request.socket.remoteAddress ?? 'unknown'
  }

  #caller(request: FastifyRequest, kind: string): string {
    const token =
      kind === 'management' ? /^Bearer m2t_([a-z0-9]{16})_/i.exec(request.headers.authorization ?? '')?.[1] : undefined
    return token ?? this.address(request.raw)
  }

  /** Counts one request; gives the seconds to wait, 0 within the limit. */
  #count(buckets: Map<string, Bucket>, key: string, limit: number, weight = 1): number {
    const now = this.#clock()
    let bucket = buckets.get(key)
    if (bucket === undefined || now - bucket.windowStart >= windowMs || now < bucket.windowStart) {
      if (buckets.size >= maxCallers) buckets.clear()
      bucket = { windowStart: now, count: 0 }
      buckets.set(key, bucket)
    }
    bucket.count += weight
    return bucket.count > limit ? Math.max(1, Math.ceil((bucket.windowStart + windowMs - now) / 1000)) : 0
  }
}

/** As how many requests one counts: large bodies weigh more where the route says so, and one of unknown length as the largest. */
function weightOf(request: FastifyRequest): number {
  const { bytesPerRequest } = request.routeOptions.config
  if (bytesPerRequest === undefined) return 1
  const told = Number(request.headers['content-length'] ?? Number.NaN)
  return Math.max(1, Math.ceil((Number.isNaN(told) ? maxLogBytes : Math.min(told, maxLogBytes)) / bytesPerRequest))
}

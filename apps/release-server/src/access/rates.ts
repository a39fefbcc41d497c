import type { IncomingMessage } from 'node:http'
import { isIPv6 } from 'node:net'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { ServerError } from '../errors.ts'
import { MAX_LOG_BYTES } from '../limits.ts'

/** Requests per minute of one kind from one caller. */
export interface RateOptions {
  /** Documents of the public tree, per address; default 600. */
  readonly publicPerMinute?: number | undefined
  /**
   * Management calls of one token, and failed ones of one address; default 120; uploads of a valid token do not count.
   */
  readonly managementPerMinute?: number | undefined
  /** Logins, per address; default 10. */
  readonly loginPerMinute?: number | undefined
  /** Telemetry reports and other anonymous writes, per address; default 30. */
  readonly reportsPerMinute?: number | undefined
  /** Logs shown to the witness, and statements about devices, each per address and 64 KiB; default 30. */
  readonly witnessPerMinute?: number | undefined
  /** Runtime key exchanges, per address; default 60. */
  readonly noisePerMinute?: number | undefined
  /** Checkpoints that the witness of logs is asked to sign, per address; default 60. */
  readonly cosignPerMinute?: number | undefined
  /** Wrong access codes of channels, per address; default 10. */
  readonly accessPerMinute?: number | undefined
  /** Reports and other anonymous writes of all addresses together; default a hundred times `reportsPerMinute`. */
  readonly reportsInAllPerMinute?: number | undefined
  /** Take the caller's address from `X-Forwarded-For`: only behind a proxy that sets it. */
  readonly trustProxy?: boolean | undefined
}

interface Bucket {
  windowStart: number
  count: number
}

const WINDOW_MS = 60_000
const MAX_CALLERS = 100_000

/**
 * The caller that an address counts as: an IPv4 address, or the /64 of an IPv6 address, since one customer of a
 * provider has all of it.
 */
export function addressKey(address: string): string {
  if (!address.includes(':')) return address
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1]
  if (mapped !== undefined) return mapped
  const bare = address.replace(/%.*$/, '')
  if (!isIPv6(bare)) return address
  const [head = '', tail] = bare.split('::')
  const left = head === '' ? [] : head.split(':')
  const right = tail === undefined || tail === '' ? [] : tail.split(':')
  // An IPv4 address at the end stands for two groups; it never reaches into the first four.
  const width = left.length + right.length + (bare.includes('.') ? 1 : 0)
  const groups = tail === undefined ? left : [...left, ...Array<string>(Math.max(0, 8 - width)).fill('0'), ...right]
  return `${groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':')}::/64`
}

/** Counts by caller and minute, for a limited number of callers: the oldest are dropped first. */
class Counter {
  readonly #clock: () => number
  readonly #buckets = new Map<string, Bucket>()

  constructor(clock: () => number) {
    this.#clock = clock
  }

  /** Counts `weight` requests; returns the seconds to wait, 0 within the limit. */
  count(key: string, limit: number, weight = 1): number {
    const bucket = this.#bucket(key)
    bucket.count += weight
    return bucket.count > limit ? this.#secondsLeft(bucket) : 0
  }

  /** Seconds to wait for a caller that has used up its limit; nothing is counted. */
  wait(key: string, limit: number): number {
    const bucket = this.#buckets.get(key)
    if (bucket === undefined || this.#isOver(bucket) || bucket.count < limit) return 0
    return this.#secondsLeft(bucket)
  }

  /** How many a caller has left. */
  left(key: string, limit: number): number {
    return Math.max(0, limit - (this.#buckets.get(key)?.count ?? 0))
  }

  #bucket(key: string): Bucket {
    const known = this.#buckets.get(key)
    if (known !== undefined && !this.#isOver(known)) return known
    this.#buckets.delete(key)
    if (this.#buckets.size >= MAX_CALLERS) {
      const oldest = this.#buckets.keys().next().value
      if (oldest !== undefined) this.#buckets.delete(oldest)
    }
    const fresh = { windowStart: this.#clock(), count: 0 }
    this.#buckets.set(key, fresh)
    return fresh
  }

  #isOver({ windowStart }: Bucket): boolean {
    const now = this.#clock()
    return now - windowStart >= WINDOW_MS || now < windowStart
  }

  #secondsLeft({ windowStart }: Bucket): number {
    return Math.max(1, Math.ceil((windowStart + WINDOW_MS - this.#clock()) / 1000))
  }
}

function tooMany(retryAfterS: number): ServerError {
  return new ServerError('SRV_RATE', 'Too many requests', { details: { retryAfterS } })
}

/**
 * Counts requests per caller and minute; in memory, per process: behind a balancer the whole is that many times higher.
 * A caller is an address until a token is verified: what somebody merely claims is neither a way around the limit nor
 * a way to use up the limit of others.
 */
export class RateLimits {
  readonly #options: RateOptions
  readonly #callers: Counter
  readonly #readers: Counter

  constructor(options: RateOptions, clock: () => number) {
    this.#options = options
    this.#callers = new Counter(clock)
    this.#readers = new Counter(clock)
  }

  /** Seconds that a reader of the public tree has to wait; 0: none. */
  publicWait(request: IncomingMessage): number {
    return this.#readers.count(this.address(request), this.#options.publicPerMinute ?? 600)
  }

  /** Seconds that a reader has to wait after too many wrong access codes; 0: none. */
  accessWait(request: IncomingMessage): number {
    return this.#callers.wait(`access:${this.address(request)}`, this.#options.accessPerMinute ?? 10)
  }

  /** Counts a wrong access code. */
  countWrongAccess(request: IncomingMessage): void {
    this.#callers.count(`access:${this.address(request)}`, this.#options.accessPerMinute ?? 10)
  }

  /**
   * Counts a request to a route without a scope.
   *
   * @throws ServerError `SRV_RATE` above the limit; sets the `RateLimit` header.
   */
  checkAnonymous(request: FastifyRequest, reply: FastifyReply): void {
    const kind = request.routeOptions.config.rate ?? 'public'
    if (kind === 'none') return
    const limit = {
      public: this.#options.publicPerMinute ?? 600,
      login: this.#options.loginPerMinute ?? 10,
      reports: this.#options.reportsPerMinute ?? 30,
      witness: this.#options.witnessPerMinute ?? 30,
      attest: this.#options.witnessPerMinute ?? 30,
      noise: this.#options.noisePerMinute ?? 60,
      cosign: this.#options.cosignPerMinute ?? 60,
    }[kind]
    const weight = weightOf(request)
    this.#count(reply, `${kind}:${this.address(request.raw)}`, limit, weight)
    const inAll = {
      // A MiB of logs costs the processor a second or two: together they get a third of it.
      witness: 8 * limit,
      // Logs of identities that attest devices, apart from the witness: neither uses up the budget of the other.
      attest: 8 * limit,
      reports: this.#options.reportsInAllPerMinute ?? 100 * limit,
    }
    if (kind !== 'reports' && kind !== 'witness' && kind !== 'attest') return
    const waitS = this.#callers.count(`${kind}:all`, inAll[kind], weight)
    if (waitS > 0) throw tooMany(waitS)
  }

  /**
   * Counts a request whose token was refused, for the address it came from; throws `SRV_RATE` above the limit. A valid
   * token is never refused for what others at its address did: a publisher in an emergency may share it with an
   * attacker.
   */
  countFailure(request: FastifyRequest): void {
    const waitS = this.#callers.count(`stranger:${this.address(request.raw)}`, this.#managementLimit)
    if (waitS > 0) throw tooMany(waitS)
  }

  /** Counts a management call of a verified caller; throws `SRV_RATE` above the limit. */
  checkActor(name: string, reply: FastifyReply): void {
    this.#count(reply, `actor:${name}`, this.#managementLimit, 1)
  }

  /** Address of a caller, as far as the deployment lets it be known; IPv6 by its /64. */
  address(request: IncomingMessage): string {
    const forwarded = this.#options.trustProxy === true ? request.headers['x-forwarded-for'] : undefined
    const last = typeof forwarded === 'string' ? forwarded.split(',').at(-1)?.trim() : undefined
    return addressKey(last ?? request.socket.remoteAddress ?? 'unknown')
  }

  get #managementLimit(): number {
    return this.#options.managementPerMinute ?? 120
  }

  #count(reply: FastifyReply, key: string, limit: number, weight: number): void {
    const waitS = this.#callers.count(key, limit, weight)
    const left = this.#callers.left(key, limit)
    reply.header('ratelimit', `limit=${limit}, remaining=${left}, reset=${waitS === 0 ? 60 : waitS}`)
    if (waitS > 0) throw tooMany(waitS)
  }
}

/** How many requests one counts as: large bodies weigh more where the route says so, one of unknown length the most. */
function weightOf(request: FastifyRequest): number {
  const { bytesPerRequest } = request.routeOptions.config
  if (bytesPerRequest === undefined) return 1
  const announced = Number(request.headers['content-length'] ?? Number.NaN)
  const bytes = Number.isNaN(announced) ? MAX_LOG_BYTES : Math.min(announced, MAX_LOG_BYTES)
  return Math.max(1, Math.ceil(bytes / bytesPerRequest))
}

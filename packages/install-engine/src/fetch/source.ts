import { setTimeout as sleep } from 'node:timers/promises'
import { collectBytes } from '@keyturn/primitives'
import type { RandomSource } from '@keyturn/primitives'
import type { Mirror } from '@keyturn/manifest'
import { LauncherError } from '../errors.ts'
import { shownUrl } from './proxy.ts'
import type { HttpAnswer, HttpClient } from './http.ts'
import { isHtml, isWebPage } from './web-page.ts'
import { isNear, systemResolveHost } from './near-name.ts'
import type { ResolveHost } from './near-name.ts'

/** How often and how patiently a request is repeated. */
export interface RetryPolicy {
  /** Tries at one request over all hosts; default 5. */
  readonly tries: number
  /** First and longest pause, milliseconds, with full jitter; default 500 and 30,000. */
  readonly firstPauseMs: number
  readonly longestPauseMs: number
}

/** The policy unless options say otherwise. */
export const defaultRetryPolicy: RetryPolicy = Object.freeze({ tries: 5, firstPauseMs: 500, longestPauseMs: 30_000 })

interface Host {
  readonly base: string
  /** On the player's own network: tried first, and given up at the first sign of trouble. */
  isLan: boolean
  /** Whether its name was looked up, and until when that holds; a host that this machine names needs none. */
  nearUntil: number
  weight: number
  strikes: number
  lies: number
  benchedUntil: number
}

/** A mirror that lied this often is left alone for an hour (MUST-23). */
const LIES_BEFORE_BENCH = 3
const BENCH_MS = 3_600_000
/** A LAN host that does not answer, or answers slowly, is left alone for this long. */
const LAN_BENCH_MS = 600_000
/** A LAN is quick or of no use. */
const LAN_LIMITS = { idleTimeoutMs: 2_000, slowBytesPerSecond: 64 * 1024, slowWindowMs: 4_000 }
/** A host that failed this often in a row gives way to the next. */
const STRIKES_BEFORE_CHANGE = 2

/** Tries at a host that never answered while somebody waits to play. */
const PROMPT_TRIES = 2

/** Whether another try, or another host, may help. */
function isWorthRetrying(error: unknown): boolean {
  if (!(error instanceof LauncherError)) return false
  if (error.code === 'LA_HTTP_STATUS') {
    const status = error.details['status']
    return typeof status === 'number' && (status >= 500 || status === 429 || status === 408)
  }
  return ['LA_NETWORK', 'LA_TIMEOUT', 'LA_SIZE'].includes(error.code)
}

/** How a {@link Source} is made. */
export interface SourceOptions {
  readonly retry: RetryPolicy
  readonly random: RandomSource
  readonly monotonic: () => number
  readonly lanMirror?: string | undefined
  /** Default: the name service of this system. */
  readonly resolveHost?: ResolveHost | undefined
  /** Access code of the channel. */
  readonly accessCode?: string | undefined
}

/**
 * The places a release is fetched from: mirrors by weight, the server itself always last. URLs are derived from names
 * that are hashes or numbers, never taken from a document.
 */
export class Source {
  readonly #client: HttpClient
  readonly #lanClient: HttpClient
  readonly #lanMirror: string | undefined
  readonly #resolveHost: ResolveHost
  readonly #accessCode: string | undefined
  readonly #retry: RetryPolicy
  readonly #random: RandomSource
  readonly #monotonic: () => number
  readonly #origin: Host
  #mirrors: Host[] = []
  #isPrompt = false
  #wasAnswered = false

  constructor(server: string, client: HttpClient, options: SourceOptions) {
    this.#origin = newHost({ url: server, weight: 0 })
    this.#client = client
    this.#lanClient = client.with(LAN_LIMITS)
    this.#lanMirror = options.lanMirror
    this.#resolveHost = options.resolveHost ?? systemResolveHost
    this.#accessCode = options.accessCode
    this.setMirrors([])
    this.#retry = options.retry
    this.#random = options.random
    this.#monotonic = options.monotonic
  }

  /** Address of the server itself, with a slash at its end. */
  get origin(): string {
    return this.#origin.base
  }

  /**
   * Begins an operation.
   *
   * @param isPrompt - Somebody waits to play what is installed: as long as nobody has answered, a request is tried
   *   twice
   * only, and a silence ends it. Once a server answers, patience is as ever.
   */
  begin(isPrompt: boolean): void {
    this.#isPrompt = isPrompt
    this.#wasAnswered = false
  }

  #isLastTry(error: unknown, failures: number): boolean {
    if (!this.#isPrompt || this.#wasAnswered) return failures >= this.#retry.tries
    return (
      failures >= Math.min(PROMPT_TRIES, this.#retry.tries) ||
      (error instanceof LauncherError && error.code === 'LA_TIMEOUT')
    )
  }

  /** Addresses of the mirrors known now, but for those of the player's own network. */
  get mirrors(): readonly string[] {
    return this.#mirrors.filter(({ isLan }) => !isLan).map((host) => host.base)
  }

  /** Whether a host of the player's own network is tried first: what comes from it is verified piece by piece. */
  async findsLan(): Promise<boolean> {
    const hosts = this.#mirrors.filter(({ isLan }) => isLan)
    return (await Promise.all(hosts.map(async (host) => await this.#isNear(host)))).some(Boolean)
  }

  /** Whether a LAN host may be asked now: it is not left alone, and its name leads to this network. */
  async #isNear(host: Host): Promise<boolean> {
    if (host.benchedUntil > this.#monotonic()) return false
    if (host.nearUntil > this.#monotonic()) return true
    if (await isNear(host.base, this.#resolveHost)) {
      host.nearUntil = this.#monotonic() + LAN_BENCH_MS
      return true
    }
    host.benchedUntil = Math.max(host.benchedUntil, this.#monotonic() + LAN_BENCH_MS)
    return false
  }

  /** Takes the mirrors of the signed head; those known already keep their record. */
  setMirrors(mirrors: readonly Mirror[]): void {
    const own: Mirror[] = this.#lanMirror === undefined ? [] : [{ url: this.#lanMirror, weight: 1, scope: 'lan' }]
    this.#mirrors = [...own, ...mirrors].map((mirror) => {
      const base = withSlash(mirror.url)
      const known = this.#mirrors.find((host) => host.base === base)
      if (known === undefined) {
        // A host that this machine names is asked whatever its address.
        return Object.assign(newHost(mirror), own.includes(mirror) ? { nearUntil: Number.POSITIVE_INFINITY } : {})
      }
      return Object.assign(known, { weight: mirror.weight, isLan: mirror.scope === 'lan' })
    })
  }

  /** Records that a host sent wrong bytes. */
  reportLie(base: string): void {
    const host = this.#mirrors.find((mirror) => mirror.base === base)
    if (host === undefined) return
    host.lies += 1
    if (host.isLan || host.lies >= LIES_BEFORE_BENCH) host.benchedUntil = this.#monotonic() + BENCH_MS
  }

  async #hosts(order: 'origin-first' | 'mirrors-first'): Promise<Host[]> {
    const now = this.#monotonic()
    const open = this.#mirrors.filter((host) => host.benchedUntil <= now)
    const drawn = open.map((host) => ({ host, draw: this.#unit() ** (1 / Math.max(1, host.weight)) }))
    drawn.sort((a, b) => Math.sign(a.host.strikes - b.host.strikes) || b.draw - a.draw)
    const mirrors = drawn.map(({ host }) => host).filter(({ isLan }) => !isLan)
    // Documents that say what to trust and to install never come from the player's own network.
    if (order === 'origin-first') return [this.#origin, ...mirrors]
    const lan = open.filter(({ isLan }) => isLan)
    const near = await Promise.all(lan.map(async (host) => await this.#isNear(host)))
    return [...lan.filter((_, index) => near[index]), ...mirrors, this.#origin]
  }

  /** A number from 0 to 1. */
  #unit(): number {
    const [a = 0, b = 0, c = 0, d = 0] = this.#random(4)
    return (a * 0x1000000 + b * 0x10000 + c * 0x100 + d) / 0x1_0000_0000
  }

  /**
   * Fetches, with retries: blobs from mirrors first, documents from the server first. `use` reads the answer; what it
   * throws decides whether another try follows. It is called again for each try, so it must go on from where it
   * stopped.
   */
  async fetch<T>(
    path: string,
    use: (answer: HttpAnswer, base: string) => Promise<T>,
    options: {
      signal?: AbortSignal | undefined
      mirrors?: boolean
      host?: string
      /** Hosts that are left out; never the server itself. */
      except?: ReadonlySet<string>
      headers?: () => Record<string, string>
      progressed?: () => boolean
    } = {},
  ): Promise<T> {
    const named = this.#mirrors.find(({ base }) => base === options.host)
    const order = await this.#hosts(options.mirrors === true ? 'mirrors-first' : 'origin-first')
    const hosts =
      named === undefined ? order.filter((host) => host === this.#origin || !options.except?.has(host.base)) : [named]
    let failures = 0
    for (let attempt = 0, at = 0; ; attempt++) {
      const host = hosts[Math.min(at, hosts.length - 1)] as Host
      let pauseAtLeastMs = 0
      try {
        const answer = await (host.isLan ? this.#lanClient : this.#client).send({
          url: shownUrl(host.base + path),
          headers: { ...options.headers?.(), ...this.#accessHeaders(host, path) },
          signal: options.signal,
        })
        this.#requireAccess(answer, host, path)
        this.#wasAnswered ||= !host.isLan
        pauseAtLeastMs = (answer.retryAfterSeconds ?? 0) * 1000
        const result = await this.#use(answer, host, path, use)
        host.strikes = 0
        return result
      } catch (error) {
        options.signal?.throwIfAborted()
        // No mirror has what the server keeps for those with the code.
        if (error instanceof LauncherError && error.code === 'LA_ACCESS') throw error
        host.strikes += 1
        if (error instanceof LauncherError && error.code === 'LA_HASH') this.reportLie(host.base)
        if (host.isLan) {
          this.#leaveLan(host, error)
          at += 1
          continue
        }
        const last = at >= hosts.length - 1
        // A host that fails for good, or fails again, gives way to the next; the server itself is the last resort.
        if (!last && (!isWorthRetrying(error) || host.strikes >= STRIKES_BEFORE_CHANGE)) {
          at += 1
          continue
        }
        failures = options.progressed?.() === true ? 1 : failures + 1
        if (!isWorthRetrying(error) || this.#isLastTry(error, failures) || pauseAtLeastMs > this.#retry.longestPauseMs)
          throw error
        await this.#pause(failures, pauseAtLeastMs, options.signal)
      }
    }
  }

  /** A 403 of the server itself, in its own form: a page for people comes from something in between. */
  #requireAccess(answer: HttpAnswer, host: Host, path: string): void {
    if (answer.status !== 403 || host !== this.#origin || isBlob(path) || isHtml(answer.headers)) return
    answer.discard()
    throw accessError(this.#accessCode)
  }

  /** The code goes to the server itself, and with documents only: blobs are public, mirrors are strangers. */
  #accessHeaders(host: Host, path: string): Record<string, string> {
    if (this.#accessCode === undefined || host !== this.#origin || isBlob(path)) return {}
    return { 'keyturn-access': this.#accessCode }
  }

  /** A host of the player's own network gets no second try; one that merely lacks a file is asked for the next. */
  #leaveLan(host: Host, error: unknown): void {
    const status = error instanceof LauncherError && error.code === 'LA_HTTP_STATUS' ? error.details['status'] : 0
    if (status !== 404 && status !== 410)
      host.benchedUntil = Math.max(host.benchedUntil, this.#monotonic() + LAN_BENCH_MS)
  }

  async #use<T>(
    answer: HttpAnswer,
    host: Host,
    path: string,
    use: (answer: HttpAnswer, base: string) => Promise<T>,
  ): Promise<T> {
    try {
      return await use(answer, host.base)
    } catch (error) {
      if (error instanceof LauncherError && error.details['url'] === undefined && error.code.startsWith('LA_H')) {
        throw new LauncherError(error.code, error.message, {
          details: { ...error.details, url: shownUrl(host.base + path) },
          cause: error,
        })
      }
      throw error
    } finally {
      answer.discard()
    }
  }

  async #pause(failures: number, atLeastMs: number, signal: AbortSignal | undefined): Promise<void> {
    const ceiling = Math.min(this.#retry.longestPauseMs, this.#retry.firstPauseMs * 2 ** (failures - 1))
    const ms = Math.max(atLeastMs, this.#unit() * ceiling)
    await sleep(ms, undefined, signal === undefined ? {} : { signal }).catch(() => signal?.throwIfAborted())
  }

  /** A small document, whole, at most `maxBytes` (and exactly `length` when given); `undefined` for 404 and 410. */
  async document(
    path: string,
    maxBytes: number,
    options: { signal?: AbortSignal | undefined; fresh?: boolean; host?: string } = {},
  ): Promise<Uint8Array | undefined> {
    const headers = (): Record<string, string> => (options.fresh === true ? { 'cache-control': 'no-cache' } : {})
    try {
      return await this.fetch(
        path,
        async (answer) => {
          if (answer.status !== 200) throw statusError(answer.status, path)
          const bytes = await collect(answer, maxBytes, path)
          if (isWebPage(bytes)) throw webPageError(path)
          return bytes
        },
        { signal: options.signal, headers, ...(options.host === undefined ? {} : { host: options.host }) },
      )
    } catch (error) {
      // Not there, on the server and on every mirror.
      if (
        error instanceof LauncherError &&
        error.code === 'LA_HTTP_STATUS' &&
        [404, 410].includes(Number(error.details['status']))
      )
        return undefined
      throw error
    }
  }
}

function isBlob(path: string): boolean {
  return /^(?:files|blobs)\//.test(path)
}

function accessError(given: string | undefined): LauncherError {
  return new LauncherError(
    'LA_ACCESS',
    given === undefined
      ? 'This channel needs an access code'
      : 'The access code is not the one of this channel, or it was changed',
  )
}

const SIGN_IN = 'Sign in to this network in a browser first, or use another one'

/** Statuses that are not the server's own. */
const BETWEEN: Readonly<Record<number, { readonly who: string; readonly hint: string }>> = {
  407: { who: 'the proxy', hint: 'Put the name and the password for the proxy into its address' },
  511: { who: 'the network', hint: SIGN_IN },
}

/** The error for a status that brings nothing. */
export function statusError(status: number, path: string): LauncherError {
  const { who = 'the server', hint } = BETWEEN[status] ?? {}
  return new LauncherError('LA_HTTP_STATUS', `Cannot fetch "${path}": ${who} answers ${status}`, {
    details: { url: path, status },
    hint,
  })
}

/** A page for people where a document was asked for. */
function webPageError(path: string): LauncherError {
  return new LauncherError('LA_REDIRECT', `Cannot fetch "${path}": a web page came in its place`, {
    details: { url: path },
    hint: SIGN_IN,
  })
}

async function collect(answer: HttpAnswer, maxBytes: number, path: string): Promise<Uint8Array> {
  const announced = Number(answer.headers.get('content-length') ?? '0')
  if (announced > maxBytes)
    throw new LauncherError('LA_SIZE', `Cannot fetch "${path}": ${announced} bytes are over the limit of ${maxBytes}`)
  return await collectBytes(
    answer.body,
    maxBytes,
    () => new LauncherError('LA_SIZE', `Cannot fetch "${path}": it is longer than ${maxBytes} bytes`),
  )
}

function newHost({ url, weight, scope }: Mirror): Host {
  return { base: withSlash(url), isLan: scope === 'lan', weight, strikes: 0, lies: 0, benchedUntil: 0, nearUntil: 0 }
}

function withSlash(url: string): string {
  return url.endsWith('/') ? url : `${url}/`
}

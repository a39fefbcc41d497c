import { LauncherError } from '../errors.ts'
import type { LauncherErrorCode } from '../errors.ts'
import { printable } from '@keyturn/primitives'
import { shownUrl } from './proxy.ts'

/** The `fetch` the engine uses; a subset of the global one. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>

/** Bounds of one request. */
export interface HttpLimits {
  /** Longest silence; default 15 s. */
  readonly idleTimeoutMs: number
  /** Below this many bytes a second over `slowWindowMs` the server is too slow; default 1 KiB/s over 30 s. */
  readonly slowBytesPerSecond: number
  readonly slowWindowMs: number
  /** Redirects followed, all on the same origin; default 3. */
  readonly maxRedirects: number
}

/** The bounds unless options say otherwise. */
export const defaultHttpLimits: HttpLimits = Object.freeze({
  idleTimeoutMs: 15_000,
  slowBytesPerSecond: 1024,
  slowWindowMs: 30_000,
  maxRedirects: 3,
})

/** One request. */
export interface HttpRequest {
  readonly url: string
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly method?: 'GET' | 'POST' | undefined
  readonly body?: Uint8Array<ArrayBuffer> | undefined
  readonly signal: AbortSignal | undefined
}

/** An answer whose body is read by the caller, part by part. */
export interface HttpAnswer {
  readonly status: number
  readonly headers: Headers
  /** Seconds the server asks to wait. */
  readonly retryAfterSeconds: number | undefined
  /** The body; throws `LA_TIMEOUT` when it stalls, `LA_NETWORK` when it breaks. Leaving the loop ends the request. */
  readonly body: AsyncIterable<Uint8Array>
  /** Ends the request without reading on. */
  discard(): void
}

/** An error of one request: from which server, and what is wrong. */
export function httpError(
  code: LauncherErrorCode,
  problem: string,
  url: string,
  extra: { status?: number; cause?: unknown; hint?: string } = {},
): LauncherError {
  const { status, cause, hint } = extra
  const host = URL.canParse(url) ? new URL(url).host : 'the server'
  return new LauncherError(code, `Cannot fetch from ${host}: ${problem}`, {
    details: { url: shownUrl(url), status },
    cause,
    hint,
  })
}

function reasonOf(error: unknown): string {
  const deepest = error instanceof Error && error.cause instanceof Error ? error.cause : error
  if (!(deepest instanceof Error)) return 'the connection failed'
  const code = 'code' in deepest && typeof deepest.code === 'string' ? deepest.code : undefined
  return code ?? deepest.message
}

/** Ends a request on silence; `touch` says that something came. */
class IdleTimer {
  readonly controller = new AbortController()
  timedOut = false
  readonly #ms: number
  #timer: NodeJS.Timeout | undefined

  constructor(ms: number) {
    this.#ms = ms
    this.touch()
  }

  touch(): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      this.timedOut = true
      this.controller.abort()
    }, this.#ms)
  }

  stop(): void {
    clearTimeout(this.#timer)
  }
}

/** Sends one request over the injected `fetch`, with the bounds of docs/spec/launcher.md §5. */
export class HttpClient {
  readonly #fetch: Fetch
  readonly #limits: HttpLimits
  readonly #monotonic: () => number

  constructor(fetch: Fetch, limits: HttpLimits, monotonic: () => number) {
    this.#fetch = fetch
    this.#limits = limits
    this.#monotonic = monotonic
  }

  /** The same client with other bounds. */
  with(limits: Partial<HttpLimits>): HttpClient {
    return new HttpClient(this.#fetch, { ...this.#limits, ...limits }, this.#monotonic)
  }

  /** Sends, following redirects on the same origin only. The answer is any status. */
  async send(request: HttpRequest): Promise<HttpAnswer> {
    let url = request.url
    for (let redirects = 0; ; redirects++) {
      const answer = await this.#once({ ...request, url })
      const location = answer.headers.get('location')
      if (answer.status < 300 || answer.status >= 400 || answer.status === 304 || location === null) return answer
      answer.discard()
      const next = URL.canParse(location, url) ? new URL(location, url) : undefined
      if (redirects >= this.#limits.maxRedirects || next === undefined || next.origin !== new URL(url).origin) {
        throw httpError('LA_REDIRECT', `the server redirects to ${next?.origin ?? 'nowhere'}`, url, {
          status: answer.status,
          hint: 'If this network wants you to sign in, do so in a browser first',
        })
      }
      url = next.href
    }
  }

  async #once(request: HttpRequest): Promise<HttpAnswer> {
    request.signal?.throwIfAborted()
    const idle = new IdleTimer(this.#limits.idleTimeoutMs)
    const signal =
      request.signal === undefined ? idle.controller.signal : AbortSignal.any([request.signal, idle.controller.signal])
    let response: Response
    try {
      response = await this.#fetch(request.url, {
        method: request.method ?? 'GET',
        headers: { 'accept-encoding': 'identity', ...request.headers },
        redirect: 'manual',
        signal,
        ...(request.body === undefined ? {} : { body: request.body }),
      })
    } catch (cause) {
      idle.stop()
      throw this.#translate(cause, request, idle)
    }
    return this.#answer(response, request, idle)
  }

  #translate(cause: unknown, request: HttpRequest, idle: IdleTimer): unknown {
    if (request.signal?.aborted === true) return request.signal.reason
    if (cause instanceof LauncherError) return cause
    if (idle.timedOut) return httpError('LA_TIMEOUT', 'the server went silent', request.url)
    return httpError('LA_NETWORK', reasonOf(cause), request.url, { cause })
  }

  #answer(response: Response, request: HttpRequest, idle: IdleTimer): HttpAnswer {
    const encoding = response.headers.get('content-encoding')
    if (encoding !== null && encoding !== '' && encoding !== 'identity') {
      idle.stop()
      idle.controller.abort()
      throw httpError('LA_ENCODING', `the answer is encoded as ${printable(encoding, 40)}`, request.url)
    }
    const retryAfter = response.headers.get('retry-after')
    const discard = (): void => {
      idle.stop()
      idle.controller.abort()
    }
    return {
      status: response.status,
      headers: response.headers,
      retryAfterSeconds: retryAfter !== null && /^\d{1,9}$/.test(retryAfter) ? Number(retryAfter) : undefined,
      body: this.#read(response, request, idle),
      discard,
    }
  }

  async *#read(response: Response, request: HttpRequest, idle: IdleTimer): AsyncGenerator<Uint8Array> {
    let windowStart = this.#monotonic()
    let windowBytes = 0
    const slowest = (this.#limits.slowBytesPerSecond * this.#limits.slowWindowMs) / 1000
    try {
      for await (const part of response.body ?? []) {
        idle.stop()
        windowBytes += part.length
        yield part
        const now = this.#monotonic()
        if (now - windowStart >= this.#limits.slowWindowMs) {
          if (windowBytes < slowest) throw httpError('LA_TIMEOUT', 'the server sends too slowly', request.url)
          windowStart = now
          windowBytes = 0
        }
        idle.touch()
      }
      // A body that ends with its connection looks whole when the request is given up.
      request.signal?.throwIfAborted()
      if (idle.timedOut) throw httpError('LA_TIMEOUT', 'the server went silent', request.url)
    } catch (cause) {
      throw this.#translate(cause, request, idle)
    } finally {
      idle.stop()
      idle.controller.abort()
    }
  }
}

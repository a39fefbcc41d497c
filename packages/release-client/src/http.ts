import { utf8Decode } from '@keyturn/primitives'
import { ServerError } from './errors.ts'
import { API_LIMITS } from './limits.ts'
import { ProblemError } from './problem-error.ts'
import { readBounded } from './read-bounded.ts'

/** Options of the client. */
export interface ReleaseServerClientOptions {
  /** Token, `m2t_<id>_<secret>`; without it only the public tree answers. */
  readonly token?: string | undefined
  /** Access code of protected channels, sent with reads of the public tree. */
  readonly accessCode?: string | undefined
  /** Default: the global `fetch`. */
  readonly fetch?: typeof fetch | undefined
  /** How often a call is repeated when the server is busy or unreachable; default 4. */
  readonly retries?: number | undefined
  /** First pause before a repetition, doubled each time, in milliseconds; default 250. */
  readonly retryPauseMs?: number | undefined
  /** Default: `setTimeout`. */
  readonly sleep?: ((ms: number) => Promise<void>) | undefined
}

/** One call. */
export interface Call {
  readonly method: string
  readonly path: string
  /** What is being done, for messages: "publish 1.2 on stable". */
  readonly what: string
  readonly json?: unknown | undefined
  readonly body?: Uint8Array | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly signal?: AbortSignal | undefined
  /** Statuses other than 2xx that the caller handles itself. */
  readonly accept?: readonly number[] | undefined
  /** Most bytes of an answer; default 64 MiB. */
  readonly maxBytes?: number | undefined
  /** Whether repeating is safe; default: true, all calls carry an idempotency key or are idempotent. */
  readonly repeat?: boolean | undefined
}

/** A query string with its question mark, or nothing. */
export function queryText(query: object): string {
  const text = new URLSearchParams(
    Object.entries(query).map(([name, value]): [string, string] => [name, String(value)]),
  ).toString()
  return text === '' ? '' : `?${text}`
}

const PASSING = new Set([429, 502, 503, 504])

/** Sends calls with token, repetition and errors by code. */
export class HttpCaller {
  readonly #base: string
  readonly #token: string | undefined
  readonly #accessCode: string | undefined
  readonly #fetch: typeof fetch
  readonly #retries: number
  readonly #pauseMs: number
  readonly #sleep: (ms: number) => Promise<void>

  /** @param url - Address of the server, with or without a final slash. */
  constructor(url: string | URL, options: ReleaseServerClientOptions = {}) {
    this.#base = String(url).replace(/\/+$/, '')
    this.#token = options.token
    this.#accessCode = options.accessCode
    this.#fetch = options.fetch ?? fetch
    this.#retries = options.retries ?? 4
    this.#pauseMs = options.retryPauseMs ?? 250
    this.#sleep = options.sleep ?? ((ms) => new Promise((resolve) => setTimeout(resolve, ms)))
  }

  /** Where the server is. */
  get server(): URL {
    return new URL(this.#base)
  }

  /** Waits, by the `sleep` of the options. */
  pause(ms: number): Promise<void> {
    return this.#sleep(ms)
  }

  /** Sends a call and returns its answer; errors are {@link ProblemError} or `SRV_NETWORK`. */
  async send(call: Call): Promise<Response> {
    const headers = this.#headers(call)
    for (let attempt = 0; ; attempt++) {
      const last = attempt >= this.#retries || call.repeat === false
      const response = await this.#once(call, headers, last)
      if (response !== undefined) {
        if (response.ok || call.accept?.includes(response.status) === true) return response
        if (last || !PASSING.has(response.status)) throw await ProblemError.read(response, call.what)
        await response.body?.cancel()
      }
      await this.#sleep(pauseOf(response, this.#pauseMs * 2 ** attempt))
      call.signal?.throwIfAborted()
    }
  }

  /**
   * Sends bytes to an address outside the server, without the token.
   *
   * @returns The tag of the answer; undefined when it was refused or nothing answers there.
   */
  async putElsewhere(url: string, body: Uint8Array, signal: AbortSignal | undefined): Promise<string | undefined> {
    for (let attempt = 0; attempt <= this.#retries; attempt++) {
      if (attempt > 0) await this.#sleep(this.#pauseMs * 2 ** (attempt - 1))
      signal?.throwIfAborted()
      const response = await this.#fetch(url, {
        method: 'PUT',
        body: body as BodyInit,
        redirect: 'error',
        signal: signal === undefined ? null : AbortSignal.any([signal]),
      }).catch(() => undefined)
      await response?.body?.cancel()
      if (response?.ok === true) return response.headers.get('etag') ?? undefined
      if (response !== undefined && response.status < 500 && response.status !== 429) return undefined
    }
    return undefined
  }

  /** Sends a call and reads its JSON answer. */
  async json<T>(call: Call): Promise<T> {
    const response = await this.send(call)
    const bytes = await readBounded(response, call.maxBytes ?? API_LIMITS.maxManifestBytes, call.what)
    return JSON.parse(utf8Decode(bytes)) as T
  }

  /** Sends a call and reads its JSON answer; `undefined` for 404. */
  async find<T>(call: Call): Promise<T | undefined> {
    const response = await this.send({ ...call, accept: [404] })
    const bytes = await readBounded(response, call.maxBytes ?? API_LIMITS.maxManifestBytes, call.what)
    return response.status === 404 ? undefined : (JSON.parse(utf8Decode(bytes)) as T)
  }

  /** Sends a call and reads its bytes. */
  async bytes(call: Call): Promise<Uint8Array> {
    const response = await this.send(call)
    return readBounded(response, call.maxBytes ?? API_LIMITS.maxManifestBytes, call.what)
  }

  #headers(call: Call): Record<string, string> {
    return {
      ...(this.#token === undefined ? {} : { authorization: `Bearer ${this.#token}` }),
      ...(this.#accessCode === undefined || call.path.startsWith('/v1/') ? {} : { 'keyturn-access': this.#accessCode }),
      ...(call.json === undefined ? {} : { 'content-type': 'application/json' }),
      ...(call.method === 'POST' ? { 'idempotency-key': crypto.randomUUID() } : {}),
      ...call.headers,
    }
  }

  async #once(call: Call, headers: Record<string, string>, last: boolean): Promise<Response | undefined> {
    const body = call.json === undefined ? call.body : JSON.stringify(call.json)
    try {
      return await this.#fetch(this.#base + call.path, {
        method: call.method,
        headers,
        redirect: 'error',
        ...(body === undefined ? {} : { body: body as BodyInit }),
        // A signal of its own: what listens to one leaves only when it is collected, and each that comes is compared
        // with all that are there, so 50,000 calls on one signal would take the time of their square.
        ...(call.signal === undefined ? {} : { signal: AbortSignal.any([call.signal]) }),
      })
    } catch (cause) {
      call.signal?.throwIfAborted()
      if (!last) return undefined
      throw new ServerError('SRV_NETWORK', `Cannot ${call.what}: no answer from ${this.#base}`, { cause })
    }
  }
}

function pauseOf(response: Response | undefined, pauseMs: number): number {
  const seconds = Number(response?.headers.get('retry-after') ?? Number.NaN)
  return Number.isFinite(seconds) ? Math.min(seconds, 30) * 1000 : pauseMs
}

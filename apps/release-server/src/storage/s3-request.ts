import { createHash, createHmac } from 'node:crypto'
import { ServerError } from '../errors.ts'

/** Where a bucket is, and with which key it is used. */
export interface S3Settings {
  /** `http(s)://host[:port]/bucket[/prefix]`: path style, which every S3-compatible server accepts. */
  readonly url: string
  readonly region: string
  readonly accessKey: string
  readonly secretKey: string
  /** Default: the global `fetch`. */
  readonly fetch?: typeof fetch | undefined
  readonly clock?: (() => number) | undefined
}

/** One request to the bucket. */
export interface S3Request {
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE'
  /** Below the bucket, such as `files/ab/…`; empty for the bucket itself. */
  readonly key: string
  readonly query?: Readonly<Record<string, string>> | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly body?: Uint8Array | undefined
  /** Statuses besides 2xx that the caller reads itself. */
  readonly accept?: readonly number[] | undefined
}

const EMPTY_HASH = createHash('sha256').digest('hex')
const MAX_ATTEMPTS = 4

function hmac(key: string | Uint8Array, text: string): Uint8Array {
  return createHmac('sha256', key).update(text).digest()
}

/** RFC 3986 encoding as the signature requires it; slashes stay in paths. */
function encode(text: string, keepSlash = false): string {
  const encoded = encodeURIComponent(text).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  )
  return keepSlash ? encoded.replaceAll('%2F', '/') : encoded
}

function canonicalQuery(query: Readonly<Record<string, string>>): string {
  return Object.entries(query)
    .map(([name, value]) => `${encode(name)}=${encode(value)}`)
    .sort()
    .join('&')
}

/** Signs and sends requests to an S3-compatible server: AWS Signature Version 4. */
export class S3Caller {
  /** Prefix of all keys, with a final slash, or empty. */
  readonly prefix: string
  readonly #settings: S3Settings
  readonly #origin: string
  readonly #host: string
  readonly #bucket: string
  readonly #clock: () => number

  constructor(settings: S3Settings) {
    const url = new URL(settings.url)
    const [bucket = '', ...prefix] = url.pathname.split('/').filter((part) => part !== '')
    if (bucket === '') throw new ServerError('SRV_CONFIG', 'Cannot use the S3 address: it names no bucket')
    this.#settings = settings
    this.#origin = url.origin
    this.#host = url.host
    this.#bucket = bucket
    this.prefix = prefix.length === 0 ? '' : `${prefix.join('/')}/`
    this.#clock = settings.clock ?? Date.now
  }

  /** Path of an object with bucket and prefix, as `CopyObject` names its source. */
  pathOf(key: string): string {
    return `/${this.#bucket}/${encode(this.prefix + key, true)}`
  }

  /** Sends a request; temporary failures are repeated, others become errors. */
  async send(request: S3Request): Promise<Response> {
    const what = `${request.method} ${request.key === '' ? 'the bucket' : request.key}`
    for (let attempt = 1; ; attempt++) {
      const response = await this.#once(request).catch((cause: unknown) => {
        if (attempt >= MAX_ATTEMPTS)
          throw new ServerError('SRV_UNAVAILABLE', `Cannot ${what}: the S3 server does not answer`, { cause })
        return undefined
      })
      if (response !== undefined && (response.ok || request.accept?.includes(response.status) === true)) return response
      if (response !== undefined && (attempt >= MAX_ATTEMPTS || (response.status < 500 && response.status !== 429)))
        throw await this.#failure(what, response)
      await response?.body?.cancel()
      await new Promise((resolve) => setTimeout(resolve, 100 * 3 ** attempt))
    }
  }

  /** Sends a request and reads its answer as text. */
  async text(request: S3Request): Promise<string> {
    return (await this.send(request)).text()
  }

  /** An address that does one thing until it expires. */
  presign(method: 'PUT' | 'GET', key: string, query: Readonly<Record<string, string>>, seconds: number): string {
    const { date, scope } = this.#scope()
    const path = this.#path(key)
    const signedQuery = canonicalQuery({
      ...query,
      'X-Amz-Algorithm': 'AWS4-HMAC-SHA256',
      'X-Amz-Credential': `${this.#settings.accessKey}/${scope}`,
      'X-Amz-Date': date,
      'X-Amz-Expires': String(seconds),
      'X-Amz-SignedHeaders': 'host',
    })
    const canonical = [method, path, signedQuery, `host:${this.#host}\n`, 'host', 'UNSIGNED-PAYLOAD'].join('\n')
    return `${this.#origin}${path}?${signedQuery}&X-Amz-Signature=${this.#signature(canonical, date, scope)}`
  }

  async #failure(what: string, response: Response): Promise<ServerError> {
    const code = /<Code>([A-Za-z]{1,64})<\/Code>/.exec(await response.text().catch(() => ''))?.[1] ?? ''
    const full = response.status === 507 || code === 'QuotaExceeded'
    return new ServerError(
      full ? 'UP_DISK_FULL' : 'SRV_STORAGE',
      `Cannot ${what}: the S3 server answered ${response.status} ${code}`.trim(),
      { details: { status: response.status } },
    )
  }

  #path(key: string): string {
    return key === '' ? `/${this.#bucket}` : this.pathOf(key)
  }

  #scope(): { date: string; scope: string } {
    const date = new Date(this.#clock()).toISOString().replace(/[:-]|\.\d{3}/g, '')
    return { date, scope: `${date.slice(0, 8)}/${this.#settings.region}/s3/aws4_request` }
  }

  #signature(canonical: string, date: string, scope: string): string {
    const toSign = ['AWS4-HMAC-SHA256', date, scope, createHash('sha256').update(canonical).digest('hex')].join('\n')
    const [day = '', region = '', service = '', end = ''] = scope.split('/')
    const key = hmac(hmac(hmac(hmac(`AWS4${this.#settings.secretKey}`, day), region), service), end)
    return Buffer.from(hmac(key, toSign)).toString('hex')
  }

  #once({ method, key, query = {}, headers = {}, body }: S3Request): Promise<Response> {
    const { date, scope } = this.#scope()
    const path = this.#path(key)
    const search = canonicalQuery(query)
    const payload = body === undefined ? EMPTY_HASH : createHash('sha256').update(body).digest('hex')
    const signed: Record<string, string> = {
      ...headers,
      host: this.#host,
      'x-amz-content-sha256': payload,
      'x-amz-date': date,
    }
    const names = Object.keys(signed).sort()
    const canonical = [
      method,
      path,
      search,
      ...names.map((name) => `${name}:${signed[name]?.trim()}`),
      '',
      names.join(';'),
      payload,
    ].join('\n')
    const { host: _host, ...sent } = signed
    return (this.#settings.fetch ?? fetch)(`${this.#origin}${path}${search === '' ? '' : `?${search}`}`, {
      method,
      headers: {
        ...sent,
        authorization:
          `AWS4-HMAC-SHA256 Credential=${this.#settings.accessKey}/${scope}, ` +
          `SignedHeaders=${names.join(';')}, Signature=${this.#signature(canonical, date, scope)}`,
      },
      ...(body === undefined ? {} : { body: body as BodyInit }),
    })
  }
}

/** Texts of all elements of one name in an answer; names and values here are never nested. */
export function xmlTexts(xml: string, name: string): string[] {
  return [...xml.matchAll(new RegExp(`<${name}>([^<]*)</${name}>`, 'g'))].map(([, text = '']) =>
    text.replaceAll('&quot;', '"').replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&'),
  )
}

import { M2pError } from '../errors.ts'
import type { ByteSource } from '../source.ts'

/** Options of {@link httpSource}. */
export interface HttpSourceOptions {
  /** Default: the `fetch` of the runtime. */
  readonly fetch?: typeof globalThis.fetch | undefined
  /** Sent with each request. To another origin, headers of your own cost a preflight request. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly signal?: AbortSignal | undefined
  /** Bytes of the first request: what is in them costs no further request. Default 64 KiB. */
  readonly firstBytes?: number | undefined
}

const DEFAULT_FIRST_BYTES = 64 * 1024
const RANGE_FORM = /^bytes (\d{1,16})-(\d{1,16})\/(\d{1,16})$/

/** Part of a resource, with the size and version that the server states for the whole. */
interface Part {
  readonly bytes: Uint8Array
  readonly size: number
  readonly etag: string | undefined
}

function refused(url: string, reason: string, details: Readonly<Record<string, string | number>> = {}): M2pError {
  return new M2pError('M2P_SOURCE', `Cannot read "${url}": ${reason}`, { details })
}

/** Reads a body of exactly `length` bytes; a server that sends more is not read to the end. */
async function readBody(response: Response, url: string, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length)
  let at = 0
  const reader = response.body?.getReader()
  for (let part = await reader?.read(); part?.done === false; part = await reader?.read()) {
    if (at + part.value.length > length) {
      await reader?.cancel()
      throw refused(url, `the server sent more than ${length} bytes`)
    }
    bytes.set(part.value, at)
    at += part.value.length
  }
  if (at !== length) throw refused(url, `the server sent ${at} bytes, expected ${length}`)
  return bytes
}

class HttpSource implements ByteSource {
  readonly size: number
  readonly #url: string
  readonly #options: HttpSourceOptions
  readonly #first: Part

  private constructor(url: string, first: Part, options: HttpSourceOptions) {
    this.#url = url
    this.#first = first
    this.#options = options
    this.size = first.size
  }

  static async open(url: string, options: HttpSourceOptions): Promise<HttpSource> {
    const { firstBytes = DEFAULT_FIRST_BYTES } = options
    if (!Number.isSafeInteger(firstBytes) || firstBytes < 1)
      throw new RangeError('firstBytes must be a positive integer')
    return new HttpSource(url, await request(url, 0, firstBytes, options), options)
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    const end = Math.min(offset + length, this.size)
    if (end <= offset) return new Uint8Array(0)
    const first = this.#first
    if (end <= first.bytes.length) return first.bytes.slice(offset, end)
    const part = await request(this.#url, offset, end - offset, this.#options)
    // All parts must be of one version: the one that the first request pinned.
    if (part.size !== first.size || part.etag !== first.etag)
      throw new M2pError('M2P_SOURCE_CHANGED', `Cannot read "${this.#url}": it changed on the server`, {
        details: { size: first.size, found: part.size },
      })
    return part.bytes
  }
}

async function request(url: string, offset: number, length: number, options: HttpSourceOptions): Promise<Part> {
  const { fetch: fetchIt = globalThis.fetch, headers = {}, signal } = options
  let response: Response
  try {
    response = await fetchIt(url, {
      headers: { ...headers, range: `bytes=${offset}-${offset + length - 1}` },
      // A cache that mixes versions of ranges would be noticed, but not be helpful.
      cache: 'no-store',
      ...(signal === undefined ? {} : { signal }),
    })
  } catch (cause) {
    signal?.throwIfAborted()
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new M2pError('M2P_SOURCE', `Cannot read "${url}": ${reason}`, { cause })
  }
  try {
    const { status } = response
    if (status === 200) throw refused(url, 'the server does not answer byte ranges', { status })
    if (status !== 206) throw refused(url, `the server answered ${status}`, { status })
    const range = response.headers.get('content-range')
    if (range === null)
      throw new M2pError('M2P_SOURCE', `Cannot read "${url}": the Content-Range of the answer cannot be seen`, {
        hint: 'From another origin it must be exposed: Access-Control-Expose-Headers: Content-Range, ETag',
      })
    const [, from, to, total] = RANGE_FORM.exec(range) ?? []
    const [start, last, size] = [Number(from), Number(to), Number(total)]
    const expectedLast = Math.min(offset + length, size) - 1
    if (!Number.isSafeInteger(size) || start !== offset || last !== expectedLast)
      throw refused(url, `the server answered range "${range}", expected bytes from ${offset} on`)
    const bytes = await readBody(response, url, last - start + 1)
    return { bytes, size, etag: response.headers.get('etag') ?? undefined }
  } catch (error) {
    await response.body?.cancel().catch(() => undefined)
    signal?.throwIfAborted()
    throw error
  }
}

/**
 * An archive on a web server as a source: only what is read is fetched. The server has to answer byte ranges, and the
 * archive must not change meanwhile: its size and ETag are pinned by the first request.
 *
 * @param url - Address of the archive.
 * @throws {@link M2pError} `M2P_SOURCE`, and when reading `M2P_SOURCE_CHANGED`.
 * @example `const archive = await openArchive(await httpSource('/assets.m2p'), { verifiers, contentKey })`
 */
export async function httpSource(url: string | URL, options: HttpSourceOptions = {}): Promise<ByteSource> {
  if (typeof url !== 'string' && !(url instanceof URL)) throw new TypeError('url must be a string or a URL')
  return await HttpSource.open(String(url), options)
}

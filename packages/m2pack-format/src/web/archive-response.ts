import { requireMembers } from '@keyturn/primitives'
import type { Archive } from '../archive.ts'

/** Options of {@link archiveStream}. */
export interface ArchiveStreamOptions {
  /** First byte; default 0. */
  readonly start?: number
  /** The byte after the last; default: the end of the file. */
  readonly end?: number
  readonly signal?: AbortSignal
}

/** Options of {@link archiveResponse}. */
export interface ArchiveResponseOptions {
  /**
   * Path of the file in the archive. Default: the path of the request's address, decoded, without its first slash.
   */
  readonly path?: string | undefined
  /** Headers of every answer: a Content-Security-Policy, for instance. */
  readonly headers?: Readonly<Record<string, string>> | undefined
}

const TYPES: Readonly<Record<string, string>> = {
  avif: 'image/avif',
  css: 'text/css; charset=utf-8',
  gif: 'image/gif',
  htm: 'text/html; charset=utf-8',
  html: 'text/html; charset=utf-8',
  ico: 'image/x-icon',
  jpeg: 'image/jpeg',
  jpg: 'image/jpeg',
  js: 'text/javascript; charset=utf-8',
  json: 'application/json',
  mjs: 'text/javascript; charset=utf-8',
  mp3: 'audio/mpeg',
  mp4: 'video/mp4',
  ogg: 'audio/ogg',
  pdf: 'application/pdf',
  png: 'image/png',
  svg: 'image/svg+xml',
  ttf: 'font/ttf',
  txt: 'text/plain; charset=utf-8',
  wasm: 'application/wasm',
  wav: 'audio/wav',
  webm: 'video/webm',
  webp: 'image/webp',
  woff: 'font/woff',
  woff2: 'font/woff2',
  xml: 'application/xml',
}
const RANGE = /^bytes=(\d{0,15})-(\d{0,15})$/

/**
 * A file of an archive, or a part of it, as a stream of the web. What comes out of it is verified; a file that fails
 * ends it with an error, and for a whole file that can be its last act.
 *
 * @throws M2pError `M2P_ENTRY_UNKNOWN`; what reading throws comes through the stream.
 */
export function archiveStream(
  archive: Archive,
  path: string,
  options: ArchiveStreamOptions = {},
): ReadableStream<Uint8Array> {
  requireMembers(archive, 'archive', ['header', 'source'])
  archive.entry(path)
  const parts = archive.stream(path, options)
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { value, done } = await parts.next()
      if (done === true) controller.close()
      else controller.enqueue(value)
    },
    async cancel() {
      await parts.return()
    },
  })
}

/** First byte and the one after the last, `none` for an answer of everything, `bad` for a range that does not exist. */
function rangeOf(header: string | null, size: number): { start: number; end: number } | 'none' | 'bad' {
  const [, from, to] = RANGE.exec(header ?? '') ?? []
  if (from === undefined || to === undefined || (from === '' && to === '')) return 'none'
  if (from === '') return Number(to) === 0 || size === 0 ? 'bad' : { start: Math.max(0, size - Number(to)), end: size }
  const end = to === '' ? size : Math.min(size, Number(to) + 1)
  // RFC 9110 §14.1.2: a last position before the first makes the header invalid, and it is ignored.
  if (to !== '' && Number(to) < Number(from)) return 'none'
  return Number(from) >= size ? 'bad' : { start: Number(from), end }
}

function pathOf(request: Request): string | undefined {
  try {
    return decodeURIComponent(new URL(request.url).pathname.slice(1))
  } catch {
    return undefined
  }
}

/**
 * Answers a request with a file of an archive: for a service worker, `protocol.handle` of Electron, or a server. One
 * byte range is served as 206; other methods than GET and HEAD get 405, and paths the archive does not have 404.
 *
 * @param archive - Open, with its content key.
 * @param request - What came.
 * @returns The answer. Its body is verified while it is read, and ends with an error when it does not verify.
 * @example `protocol.handle('app', (request) => archiveResponse(archive, request))`
 */
export function archiveResponse(archive: Archive, request: Request, options: ArchiveResponseOptions = {}): Response {
  requireMembers(archive, 'archive', ['header', 'source'])
  requireMembers(request, 'request', ['method', 'url'])
  const { path = pathOf(request), headers: own = {} } = options
  const answer = (status: number, more: Record<string, string>, body: ReadableStream<Uint8Array> | null): Response =>
    new Response(body as BodyInit | null, { status, headers: { 'x-content-type-options': 'nosniff', ...own, ...more } })
  if (request.method !== 'GET' && request.method !== 'HEAD') return answer(405, { allow: 'GET, HEAD' }, null)
  const entry = path === undefined ? undefined : archive.find(path)
  if (entry === undefined) return answer(404, {}, null)
  const { size } = entry
  const range = request.method === 'GET' ? rangeOf(request.headers.get('range'), size) : 'none'
  if (range === 'bad') return answer(416, { 'content-range': `bytes */${size}` }, null)
  const { start, end } = range === 'none' ? { start: 0, end: size } : range
  const extension = /\.([a-z0-9]+)$/i.exec(entry.path)?.[1]?.toLowerCase() ?? ''
  const headers = {
    'content-type': Object.hasOwn(TYPES, extension) ? (TYPES[extension] as string) : 'application/octet-stream',
    'content-length': String(end - start),
    'accept-ranges': 'bytes',
    ...(range !== 'none' && { 'content-range': `bytes ${start}-${end - 1}/${size}` }),
  }
  if (request.method === 'HEAD') return answer(200, headers, null)
  const body = archiveStream(archive, entry.path, { start, end, signal: request.signal })
  return answer(range === 'none' ? 200 : 206, headers, body)
}

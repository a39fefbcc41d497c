import type { IncomingMessage, ServerResponse } from 'node:http'
import { once } from 'node:events'
import type { ByteStream } from '../storage/blob-store.ts'
import { selectRepresentation } from './conditional.ts'
import type { Selection } from './conditional.ts'

/** What all answers about one representation share. */
export interface Representation {
  readonly etag: string
  readonly size: number
  readonly contentType: string
  readonly cacheControl: string
}

/** How long a reader may take nothing before it is cut off, in milliseconds. */
export const STALLED_READER_MS = 60_000

const unchanged: Selection = { status: 304 }

/** What of a representation a request gets. */
export function selectFor({ headers, method = 'GET' }: IncomingMessage, about: Representation): Selection {
  // Launchers ask again with the one tag they have; then nothing else matters.
  if (headers['if-none-match'] === about.etag && headers['if-match'] === undefined) return unchanged
  return selectRepresentation(
    method,
    {
      ifMatch: headers['if-match'],
      ifNoneMatch: headers['if-none-match'],
      ifRange: Array.isArray(headers['if-range']) ? undefined : headers['if-range'],
      range: headers.range,
    },
    about.etag,
    about.size,
  )
}

interface Heads {
  readonly whole: readonly string[]
  readonly unchanged: readonly string[]
}

/** Heads by representation, built once: those kept in memory are sent over and over. */
const heads = new WeakMap<Representation, Heads>()

function headsOf(about: Representation): Heads {
  let known = heads.get(about)
  if (known !== undefined) return known
  const { etag, cacheControl, contentType, size } = about
  known = {
    unchanged: ['ETag', etag, 'Cache-Control', cacheControl],
    whole: [
      'ETag',
      etag,
      'Cache-Control',
      cacheControl,
      'Accept-Ranges',
      'bytes',
      'X-Content-Type-Options',
      'nosniff',
      'Access-Control-Allow-Origin',
      '*',
      'Content-Type',
      contentType,
      'Content-Length',
      String(size),
    ],
  }
  heads.set(about, known)
  return known
}

/** Selects what of a representation the request gets, and sends the head of the answer. */
export function answerHead(request: IncomingMessage, response: ServerResponse, about: Representation): Selection {
  const selection = selectFor(request, about)
  if (selection.status === 304) {
    response.writeHead(304, headsOf(about).unchanged as string[])
  } else if (selection.status === 200) {
    response.writeHead(200, headsOf(about).whole as string[])
  } else if (selection.status === 206) {
    const { start, end } = selection
    response.writeHead(206, [
      ...headsOf(about).whole.slice(0, -1),
      String(end - start + 1),
      'Content-Range',
      `bytes ${start}-${end}/${about.size}`,
    ])
  } else if (selection.status === 416) {
    response.writeHead(416, [
      'Content-Range',
      `bytes */${about.size}`,
      'Cache-Control',
      'no-store',
      'Content-Length',
      '0',
    ])
  } else {
    response.writeHead(412, ['Cache-Control', 'no-store', 'Content-Length', '0'])
  }
  return selection
}

/** Sends a representation that is in memory. */
export function sendBytes(
  request: IncomingMessage,
  response: ServerResponse,
  about: Representation,
  body: Uint8Array,
): void {
  const selection = answerHead(request, response, about)
  if (request.method === 'HEAD' || (selection.status !== 200 && selection.status !== 206)) return void response.end()
  response.end(selection.status === 206 ? body.subarray(selection.start, selection.end + 1) : body)
}

/** Passes a stream to the reader as fast as it takes it; a stalled reader is cut off. */
export async function pump(source: ByteStream, response: ServerResponse): Promise<void> {
  response.setTimeout(STALLED_READER_MS, () => response.destroy())
  try {
    for await (const part of source) {
      if (response.destroyed) return
      if (!response.write(part)) await drained(response)
    }
    response.end()
  } catch {
    // The head was sent already: only cutting the connection tells the reader that this is not the whole.
    response.destroy()
  }
}

async function drained(response: ServerResponse): Promise<void> {
  const gone = new AbortController()
  const { signal } = gone
  const closed = once(response, 'close', { signal })
  const drain = once(response, 'drain', { signal })
  closed.catch(() => undefined)
  drain.catch(() => undefined)
  try {
    await Promise.race([closed, drain])
  } finally {
    gone.abort()
  }
}

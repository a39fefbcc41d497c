import type { IncomingMessage, ServerResponse } from 'node:http'
import { collectBytes } from '@keyturn/primitives'
import { ServerError } from '../errors.ts'
import type { BlobStore } from '../storage/blob-store.ts'
import { problemAnswer } from '../problem.ts'
import { ACCESS_HEADER, requireAccess } from './channel-access.ts'
import type { AccessRates } from './channel-access.ts'
import type { ProductDirectory } from './directory.ts'
import { documentKey } from './documents.ts'
import type { DocumentCache, PublicDocument } from './documents.ts'
import { parsePublicPath } from './paths.ts'
import type { PublicTarget } from './paths.ts'
import { pumpFile } from './pump-file.ts'
import { answerHead, pump, selectFor, sendBytes } from './send.ts'
import type { Representation } from './send.ts'

/** What answers the public tree. */
export interface PublicTreeOptions {
  readonly blobs: BlobStore
  readonly documents: DocumentCache
  readonly directory: ProductDirectory
  /** Let the proxy in front send whole blobs: `X-Accel-Redirect: <prefix>/<hh>/<sha256>` (nginx), or `X-Sendfile`. */
  readonly offload?: { readonly kind: 'accel'; readonly prefix: string } | { readonly kind: 'sendfile' } | undefined
  /** Counts a request; returns the seconds its sender has to wait, or 0. */
  readonly limit?: ((request: IncomingMessage) => number) | undefined
  /** Called for failures, with the request id. */
  readonly onError: (error: unknown, requestId: string) => void
  readonly requestId: () => string
  /** The counter of a document of a channel; undefined for documents that are not counted. */
  readonly counter?: ((product: string, channel: string, name: string) => (() => void) | undefined) | undefined
  /** Counts a request of a blob, with the bytes that it gets. */
  readonly countBlob?: ((sha256: string, bytes: number) => void) | undefined
  /** Counts wrong access codes of channels; default: they are not counted. */
  readonly access?: AccessRates | undefined
  /** Whether a request carries a token that may read a protected channel; default: none may. */
  readonly mayRead?: ((request: IncomingMessage, product: string, channel: string) => Promise<boolean>) | undefined
  readonly clock: () => number
}

const BLOB_TYPE = 'application/octet-stream'
const BLOB_FRESHNESS = 'public, max-age=31536000, immutable'
/** Blobs up to this size are kept in memory. */
const SMALL_BLOB_BYTES = 64 * 1024
const SMALL_BLOBS_BYTES = 64 * 1024 * 1024
const MAX_KNOWN_SIZES = 200_000
const MAX_KNOWN_TARGETS = 10_000
/** How long a document found by its address is sent again without a lookup, unless a change is announced. */
const READY_MS = 1000

/** A document by its address, cached until a change is announced. */
interface Ready {
  readonly document: PublicDocument
  readonly body: Uint8Array
  readonly generation: number
  readonly untilMs: number
  readonly count: (() => void) | undefined
}

interface SmallBlob {
  readonly about: Representation
  readonly bytes: Uint8Array
}

/**
 * Answers GET and HEAD of the public tree on bare `node:http`, before any framework: this is nearly all of the traffic.
 * Returns false for addresses outside the tree.
 */
export class PublicTree {
  readonly #options: PublicTreeOptions
  readonly #sizes = new Map<string, number>()
  readonly #small = new Map<string, SmallBlob>()
  readonly #ready = new Map<string, Ready>()
  readonly #targets = new Map<string, PublicTarget>()
  #smallBytes = 0

  constructor(options: PublicTreeOptions) {
    this.#options = options
  }

  /** Forgets a blob that was removed. */
  forget(sha256: string): void {
    this.#sizes.delete(sha256)
    const known = this.#small.get(sha256)
    if (known === undefined) return
    this.#small.delete(sha256)
    this.#smallBytes -= known.bytes.length
  }

  /** Answers when the address is in the public tree. */
  handle(request: IncomingMessage, response: ServerResponse): boolean {
    const url = request.url ?? '/'
    const query = url.indexOf('?')
    const path = query === -1 ? url : url.slice(0, query)
    if (this.#again(request, response, path)) return true
    const target = this.#target(path)
    if (target === undefined) return false
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      this.#fail(request, response, new ServerError('SRV_METHOD', 'The public tree answers GET and HEAD'), {
        allow: 'GET, HEAD',
      })
      return true
    }
    const waitS = target.kind === 'document' ? (this.#options.limit?.(request) ?? 0) : 0
    if (waitS > 0) {
      this.#fail(
        request,
        response,
        new ServerError('SRV_RATE', 'Too many requests', { details: { retryAfterS: waitS } }),
      )
      return true
    }
    if (!this.#fromMemory(request, response, path, target)) {
      this.#answer(request, response, target).catch((error: unknown) => this.#fail(request, response, error))
    }
    return true
  }

  /** The most common case: a document that was just sent to somebody else. */
  #again(request: IncomingMessage, response: ServerResponse, path: string): boolean {
    const ready = this.#ready.get(path)
    if (ready === undefined || ready.generation !== this.#generation() || this.#options.clock() > ready.untilMs)
      return false
    if ((request.method !== 'GET' && request.method !== 'HEAD') || (this.#options.limit?.(request) ?? 0) > 0)
      return false
    if (request.method === 'GET') ready.count?.()
    sendBytes(request, response, ready.document, ready.body)
    return true
  }

  #generation(): number {
    return this.#options.documents.generation + this.#options.directory.generation
  }

  /** What an address names; those of documents are few and requested all the time. */
  #target(path: string): PublicTarget | undefined {
    const known = this.#targets.get(path)
    if (known !== undefined) return known
    const target = parsePublicPath(path)
    if (target?.kind !== 'document') return target
    if (this.#targets.size >= MAX_KNOWN_TARGETS) this.#targets.clear()
    this.#targets.set(path, target)
    return target
  }

  /** The common case, without a promise: a document or a small blob that is in memory. */
  #fromMemory(request: IncomingMessage, response: ServerResponse, path: string, target: PublicTarget): boolean {
    if (target.kind === 'blob') {
      const known = this.#small.get(target.sha256)
      if (known === undefined || this.#options.offload !== undefined) return false
      this.#countBlob(request, target.sha256, known.about)
      sendBytes(request, response, known.about, known.bytes)
      return true
    }
    if (target.kind !== 'document') return false
    const product = this.#options.directory.peek(target.product)
    if (product === undefined || product === null) return false
    const channel = target.channel === '' ? product.defaultChannel : target.channel
    // A protected channel is never answered from here, nor remembered by its address.
    if (channel !== undefined && product.access.has(channel)) return false
    const document = this.#options.documents.peek(documentKey(product.slug, channel, target.name))
    if (document === undefined || document === null || document.body === undefined) return false
    const count = this.#counter(product.slug, channel, target.name)
    if (request.method === 'GET') count?.()
    if (this.#ready.size >= MAX_KNOWN_TARGETS) this.#ready.clear()
    this.#ready.set(path, {
      document,
      body: document.body,
      generation: this.#generation(),
      untilMs: this.#options.clock() + READY_MS,
      count,
    })
    sendBytes(request, response, document, document.body)
    return true
  }

  async #answer(request: IncomingMessage, response: ServerResponse, target: PublicTarget): Promise<void> {
    if (target.kind === 'no-blob')
      throw new ServerError('BLOB_NAME', 'A blob is named by 64 lower-case hexadecimal digits')
    if (target.kind === 'blob') return this.#sendBlob(request, response, target.sha256)
    const product = await this.#options.directory.get(target.product)
    if (product === undefined) throw new ServerError('SRV_NOT_FOUND', 'There is no such product')
    const channel = target.channel === '' ? product.defaultChannel : target.channel
    const code = channel === undefined ? undefined : product.access.get(channel)
    if (code !== undefined && !(await this.#isPublisher(request, product.slug, channel ?? '')))
      requireAccess(request, code, this.#options.access)
    const found = await this.#options.documents.get(documentKey(product.slug, channel, target.name))
    if (found === undefined) throw new ServerError('SRV_NOT_FOUND', 'There is no such document')
    if (request.method === 'GET') this.#counter(product.slug, channel, target.name)?.()
    // What needs a code is for its reader alone: no cache on the way may keep it.
    const document = code === undefined ? found : { ...found, cacheControl: 'private, no-store' }
    if (document.body !== undefined) return sendBytes(request, response, document, document.body)
    return this.#stream(request, response, document.sha256, document)
  }

  /** The publisher's own programs have a token and need no code. */
  async #isPublisher(request: IncomingMessage, product: string, channel: string): Promise<boolean> {
    const { authorization } = request.headers
    if (authorization === undefined || request.headers[ACCESS_HEADER] !== undefined) return false
    return (await this.#options.mayRead?.(request, product, channel)) === true
  }

  #counter(product: string, channel: string | undefined, name: string): (() => void) | undefined {
    return channel === undefined ? undefined : this.#options.counter?.(product, channel, name)
  }

  async #sendBlob(request: IncomingMessage, response: ServerResponse, sha256: string): Promise<void> {
    const size = this.#sizes.get(sha256) ?? (await this.#options.blobs.stat(sha256))?.size
    if (size === undefined) throw new ServerError('BLOB_UNKNOWN', `There is no blob ${sha256}`)
    if (this.#sizes.size >= MAX_KNOWN_SIZES) this.#sizes.clear()
    this.#sizes.set(sha256, size)
    this.#countBlob(request, sha256, this.#blob(sha256, size))
    if (this.#options.offload !== undefined) {
      await this.#options.blobs.warm?.(sha256)
      return this.#offload(response, sha256)
    }
    if (size > SMALL_BLOB_BYTES) return this.#stream(request, response, sha256, this.#blob(sha256, size))
    const bytes = await collectBytes(
      await this.#options.blobs.read(sha256),
      SMALL_BLOB_BYTES,
      () => new ServerError('BLOB_CORRUPT', `Blob ${sha256} is longer in the storage than its record says`),
    )
    this.#keepSmall(sha256, bytes)
    sendBytes(request, response, this.#blob(sha256, bytes.length), bytes)
  }

  #countBlob(request: IncomingMessage, sha256: string, about: Representation): void {
    const { countBlob } = this.#options
    if (countBlob === undefined || request.method !== 'GET') return
    const selection = selectFor(request, about)
    if (selection.status === 200) countBlob(sha256, about.size)
    else if (selection.status === 206) countBlob(sha256, selection.end - selection.start + 1)
  }

  #blob(sha256: string, size: number): { etag: string; size: number; contentType: string; cacheControl: string } {
    return { etag: `"sha256-${sha256}"`, size, contentType: BLOB_TYPE, cacheControl: BLOB_FRESHNESS }
  }

  async #stream(
    request: IncomingMessage,
    response: ServerResponse,
    sha256: string,
    about: Omit<PublicDocument, 'body' | 'sha256'>,
  ): Promise<void> {
    if (request.method === 'HEAD') {
      answerHead(request, response, about)
      return void response.end()
    }
    const selection = selectFor(request, about)
    if (selection.status !== 200 && selection.status !== 206) {
      answerHead(request, response, about)
      return void response.end()
    }
    const range =
      selection.status === 206 ? { start: selection.start, end: selection.end } : { start: 0, end: about.size - 1 }
    const path = this.#options.blobs.localPath?.(sha256)
    if (path !== undefined && (await pumpFile(path, range, response, () => answerHead(request, response, about))))
      return
    // Looked up before the head is sent, so that a missing blob is still a 404.
    const probe = await this.#options.blobs.stat(sha256)
    if (probe === undefined) throw this.#missing(sha256)
    const source = await this.#options.blobs.read(sha256, selection.status === 206 ? range : undefined)
    answerHead(request, response, about)
    await pump(source, response)
  }

  #missing(sha256: string): ServerError {
    this.forget(sha256)
    return new ServerError('BLOB_UNKNOWN', `There is no blob ${sha256}`)
  }

  /** The proxy in front reads the file itself; it answers conditions and ranges too. */
  #offload(response: ServerResponse, sha256: string): void {
    const { offload, blobs } = this.#options
    const headers: Record<string, string> = {
      ETag: `"sha256-${sha256}"`,
      'Cache-Control': BLOB_FRESHNESS,
      'Content-Type': BLOB_TYPE,
      'X-Content-Type-Options': 'nosniff',
      'Access-Control-Allow-Origin': '*',
    }
    if (offload?.kind === 'accel') headers['X-Accel-Redirect'] = `${offload.prefix}/${sha256.slice(0, 2)}/${sha256}`
    else headers['X-Sendfile'] = blobs.localPath?.(sha256) ?? ''
    response.writeHead(200, headers).end()
  }

  #keepSmall(sha256: string, bytes: Uint8Array): void {
    while (this.#smallBytes + bytes.length > SMALL_BLOBS_BYTES) {
      const oldest = this.#small.keys().next().value
      if (oldest === undefined) break
      this.forget(oldest)
    }
    if (!this.#small.has(sha256)) this.#smallBytes += bytes.length
    this.#small.set(sha256, { about: this.#blob(sha256, bytes.length), bytes })
  }

  #fail(request: IncomingMessage, response: ServerResponse, error: unknown, more: Record<string, string> = {}): void {
    const requestId = this.#options.requestId()
    const { status, headers, body } = problemAnswer(error, requestId)
    if (status >= 500) this.#options.onError(error, requestId)
    if (response.headersSent) return void response.destroy()
    response.writeHead(status, { ...headers, ...more, 'content-length': String(Buffer.byteLength(body)) })
    response.end(request.method === 'HEAD' ? undefined : body)
  }
}

import { describe } from './ops/log.ts'
import { createServer } from 'node:http'
import type { Server } from 'node:http'
import fastify from 'fastify'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { KeyturnError, parseStrictJson } from '@keyturn/primitives'
import type { ServerContext } from './context.ts'
import { httpStatus, ServerError } from './errors.ts'
import { maxHeaderBytes, maxJsonBytes } from './limits.ts'
import { honourIdempotencyKeys } from './http/idempotency.ts'
import { problemAnswer } from './problem.ts'
import type { RequestIds } from './http/request-ids.ts'
import type { RateLimits } from './access/rates.ts'
import { hasScope, maySee } from './access/tokens.ts'
import type { Actor } from './access/tokens.ts'

/** How the parts of the HTTP side are put together. */
export interface AppOptions {
  readonly context: ServerContext
  readonly requestIds: RequestIds
  readonly rates: RateLimits
  /** Tells who makes a request: by token, or by the session of the dashboard. */
  readonly authenticate: (request: FastifyRequest) => Promise<Actor>
  /** Told of every answer, for metrics and logs. */
  readonly onAnswer: (request: FastifyRequest, reply: FastifyReply) => void
  /** Told of every answer of the public tree. */
  readonly onPublicAnswer: (method: string, status: number) => void
  /** Adds the routes. */
  readonly routes: (app: FastifyInstance) => void
}

const requestTimeoutMs = 300_000
const headersTimeoutMs = 10_000
const keepAliveTimeoutMs = 65_000

/** Makes the HTTP server: the public tree first and bare, everything else by the framework. */
export function createApp(options: AppOptions): FastifyInstance {
  const { context, requestIds } = options
  const app = fastify({
    serverFactory: (handler) => createHttpServer(options, handler),
    genReqId: () => requestIds.next(),
    bodyLimit: maxJsonBytes,
    routerOptions: { maxParamLength: 200, caseSensitive: true },
    // The schemas say what is meant: nothing is converted, removed or filled in.
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false, useDefaults: false, allErrors: false } },
    exposeHeadRoutes: false,
    return503OnClosing: false,
  })
  app.decorateRequest('actor', null)
  readBodies(app)
  app.addHook('onRequest', async (request, reply) => guard(options, request, reply))
  honourIdempotencyKeys(app, context)
  app.addHook('onResponse', async (request, reply) => options.onAnswer(request, reply))
  app.setNotFoundHandler(async (request, reply) => sendProblem(context, request, reply, notFound(app, request)))
  app.setErrorHandler(async (error, request, reply) => sendProblem(context, request, reply, fromFramework(error)))
  options.routes(app)
  return app
}

function createHttpServer(options: AppOptions, handler: Parameters<typeof createServer>[1]): Server {
  const { tree } = options.context
  const server = createServer(
    {
      maxHeaderSize: maxHeaderBytes,
      headersTimeout: headersTimeoutMs,
      requestTimeout: requestTimeoutMs,
      keepAliveTimeout: keepAliveTimeoutMs,
      connectionsCheckingInterval: 2000,
      insecureHTTPParser: false,
      rejectNonStandardBodyWrites: false,
    },
    (request, response) => {
      if (tree.handle(request, response)) {
        if (response.headersSent) options.onPublicAnswer(request.method ?? 'GET', response.statusCode)
        else response.once('close', () => options.onPublicAnswer(request.method ?? 'GET', response.statusCode))
        return
      }
      // Relay clients name a media type that no parser of media types accepts; what it is, its address says.
      if (request.url?.startsWith('/pkarr/') === true && request.method === 'PUT')
        request.headers['content-type'] = 'application/octet-stream'
      handler?.(request, response)
    },
  )
  server.maxHeadersCount = 100
  server.on('clientError', (error, socket) => refuseUnreadable(error, socket as import('node:net').Socket))
  return server
}

/** What cannot be parsed as HTTP gets a short answer and is closed: nothing after it can be trusted. */
function refuseUnreadable(error: NodeJS.ErrnoException, socket: import('node:net').Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy()
  const [status, code] =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? ['431 Request Header Fields Too Large', 'SRV_HEADERS']
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? ['408 Request Timeout', 'SRV_TIMEOUT']
        : ['400 Bad Request', 'SRV_REQUEST']
  const body = JSON.stringify({
    type: `https://keyturn.dev/errors/${code}`,
    title: status?.slice(4),
    status: Number(status?.slice(0, 3)),
    code,
    request_id: '-',
  })
  socket.end(
    `HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Type: application/problem+json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  )
}

/** Bodies: strict JSON, or bytes passed on as a stream; nothing else is read. */
function readBodies(app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, done) => {
    try {
      done(null, parseStrictJson(body as Buffer, { maxBytes: maxJsonBytes }))
    } catch (error) {
      done(error as Error)
    }
  })
  for (const type of ['application/octet-stream', 'application/offset+octet-stream', 'application/cesr']) {
    app.addContentTypeParser(type, (_request, payload, done) => done(null, payload))
  }
}

async function guard(options: AppOptions, request: FastifyRequest, reply: FastifyReply): Promise<void> {
  const { scope, upload } = request.routeOptions.config
  reply.header('x-request-id', request.id)
  reply.header('x-content-type-options', 'nosniff')
  options.rates.check(request, reply)
  if (scope === undefined) return
  try {
    const actor = await options.authenticate(request)
    if (!hasScope(actor, scope)) {
      throw new ServerError(upload === true ? 'UP_SCOPE' : 'SRV_SCOPE', `The token does not have the scope ${scope}`)
    }
    const { p, c } = request.params as { p?: string; c?: string }
    if (p !== undefined && !maySee(actor, p, c))
      throw new ServerError('SRV_NOT_FOUND', 'There is no such product or channel')
    requireReach(request, actor, scope)
    request.actor = actor
  } catch (error) {
    // The body was not asked for; it is not read either.
    reply.header('connection', 'close')
    throw upload === true && error instanceof ServerError && error.code === 'SRV_AUTH'
      ? new ServerError('UP_AUTH', error.message)
      : error
  }
}

/** Scopes that reach beyond one product on routes that name none. */
const farReaching = new Set<string>(['admin', 'audit:read', 'keys:write'])
/** Routes that check the reach of the caller themselves. */
const ownChecks = new Set(['/v1/products', '/v1/products/:p/releases'])

/**
 * A token limited to products or channels must not get beyond them by a call that names none: by making itself a wider
 * token, say, or by changing the log that all channels share.
 */
function requireReach(request: FastifyRequest, actor: Actor, scope: string): void {
  const { p, c } = request.params as { p?: string; c?: string }
  const route = request.routeOptions.url ?? ''
  if (ownChecks.has(route)) return
  const beyondProduct = p === undefined && farReaching.has(scope) && actor.products.length + actor.channels.length > 0
  const beyondChannel = c === undefined && p !== undefined && actor.channels.length > 0 && request.method !== 'GET'
  if (beyondProduct || beyondChannel)
    throw new ServerError(
      'SRV_SCOPE',
      'The token is limited to products or channels, and this call reaches beyond them',
    )
}

function notFound(app: FastifyInstance, request: FastifyRequest): ServerError {
  const methods = (['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'] as const).filter((method) =>
    app.hasRoute({ method, url: request.url.split('?')[0] ?? '/' }),
  )
  return methods.length > 0 || request.method === 'TRACE'
    ? new ServerError('SRV_METHOD', `This address does not answer ${request.method}`)
    : new ServerError('SRV_NOT_FOUND', 'Nothing is at this address')
}

const frameworkErrors: Readonly<Record<string, 'SRV_LIMIT' | 'SRV_MEDIA_TYPE' | 'SRV_REQUEST' | 'UP_LENGTH'>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: 'SRV_LIMIT',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'SRV_MEDIA_TYPE',
  FST_ERR_CTP_EMPTY_JSON_BODY: 'SRV_REQUEST',
  FST_ERR_CTP_INVALID_JSON_BODY: 'SRV_REQUEST',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'UP_LENGTH',
  FST_ERR_VALIDATION: 'SRV_REQUEST',
  FST_ERR_BAD_URL: 'SRV_REQUEST',
}

/** Gives errors of the framework and of bodies our codes; anything unknown stays what it is and is answered as a bug. */
function fromFramework(error: unknown): unknown {
  if (error instanceof KeyturnError) {
    return error.code === 'PRIM_JSON' || error.code === 'PRIM_ENCODING' || error.code === 'PRIM_LIMIT'
      ? new ServerError('SRV_REQUEST', error.message, { cause: error })
      : error
  }
  const { code, message } = error as { code?: unknown; message?: unknown }
  const known = typeof code === 'string' ? frameworkErrors[code] : undefined
  return known === undefined ? error : new ServerError(known, `Cannot read the request: ${String(message)}`)
}

/** Sends an error as a problem document; what is the server's fault is logged with its cause. */
export function sendProblem(
  context: ServerContext,
  request: FastifyRequest,
  reply: FastifyReply,
  error: unknown,
): FastifyReply {
  const { status, headers, body } = problemAnswer(error, request.id)
  if (status >= 500) context.log.error({ request_id: request.id, err: describe(error) }, 'request failed')
  if (error instanceof KeyturnError && httpStatus(error) === 413) reply.header('connection', 'close')
  // As bytes, so that nobody adds a character set to the media type.
  return reply.code(status).headers(headers).send(Buffer.from(body))
}

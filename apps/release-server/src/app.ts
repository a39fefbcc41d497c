import { createServer } from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import fastify from 'fastify'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { KeyturnError } from '@keyturn/primitives'
import type { ServerContext } from './context.ts'
import { httpStatus, ServerError } from './errors.ts'
import { guard } from './http/guard.ts'
import type { GuardParts } from './http/guard.ts'
import { honorIdempotencyKeys } from './http/idempotency.ts'
import { parseJsonBody } from './http/json-body.ts'
import type { RequestIds } from './http/request-ids.ts'
import { MAX_ANONYMOUS_BYTES, MAX_HEADER_BYTES, MAX_JSON_BYTES } from './limits.ts'
import { describe } from './ops/log.ts'
import { problemAnswer, PROBLEM_TYPE_BASE } from './problem.ts'

/** How the parts of the HTTP side are put together. */
export interface AppOptions extends GuardParts {
  readonly context: ServerContext
  readonly requestIds: RequestIds
  /** Called for every answer, for metrics and logs. */
  readonly onAnswer: (request: FastifyRequest, reply: FastifyReply) => void
  /** Called for every answer of the public tree. */
  readonly onPublicAnswer: (method: string, status: number) => void
  /** Adds the routes. */
  readonly routes: (app: FastifyInstance) => void
}

const REQUEST_TIMEOUT_MS = 300_000
const HEADERS_TIMEOUT_MS = 10_000
const KEEP_ALIVE_TIMEOUT_MS = 65_000

/** Makes the HTTP server: the public tree first and bare, everything else by the framework. */
export function createApp(options: AppOptions): FastifyInstance {
  const { context, requestIds } = options
  const app = fastify({
    serverFactory: (handler) => createHttpServer(options, handler),
    genReqId: () => requestIds.next(),
    bodyLimit: MAX_JSON_BYTES,
    routerOptions: { maxParamLength: 200, caseSensitive: true },
    // Requests have to match the schemas as they are: nothing is converted, removed or filled in.
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false, useDefaults: false, allErrors: false } },
    exposeHeadRoutes: false,
    return503OnClosing: false,
  })
  app.decorateRequest('actor', null)
  readBodies(app)
  // An anonymous caller sends a few KiB; a route that takes more from one says how much.
  app.addHook('onRoute', (route) => {
    if (route.config?.scope === undefined) route.bodyLimit ??= MAX_ANONYMOUS_BYTES
  })
  app.addHook('onRequest', async (request, reply) => {
    await guard(options, request, reply)
    // Answered here, so that the body of a request to nowhere is not read.
    if (request.is404) throw notFound(app, request)
  })
  app.addHook('preParsing', async (request, reply) => inviteBody(request, reply))
  honorIdempotencyKeys(app, context)
  app.addHook('onResponse', async (request, reply) => options.onAnswer(request, reply))
  app.setNotFoundHandler(async (request, reply) => sendProblem(context, request, reply, notFound(app, request)))
  app.setErrorHandler(async (error, request, reply) => sendProblem(context, request, reply, fromFramework(error)))
  options.routes(app)
  return app
}

function createHttpServer(options: AppOptions, handler: Parameters<typeof createServer>[1]): Server {
  const { tree } = options.context
  const answer = (request: IncomingMessage, response: ServerResponse): void => {
    if (tree.handle(request, response)) {
      if (response.headersSent) options.onPublicAnswer(request.method ?? 'GET', response.statusCode)
      else response.once('close', () => options.onPublicAnswer(request.method ?? 'GET', response.statusCode))
      return
    }
    // Relay clients name a media type that no parser accepts; the address says what it is.
    if (request.url?.startsWith('/pkarr/') === true && request.method === 'PUT')
      request.headers['content-type'] = 'application/octet-stream'
    handler?.(request, response as Parameters<typeof handler>[1])
  }
  const server = createServer(
    {
      maxHeaderSize: MAX_HEADER_BYTES,
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
      connectionsCheckingInterval: 2000,
      insecureHTTPParser: false,
      rejectNonStandardBodyWrites: false,
    },
    answer,
  )
  server.maxHeadersCount = 100
  // Without a listener Node invites every body before anybody has looked at the request.
  server.on('checkContinue', answer)
  server.on('clientError', (error, socket) => refuseUnreadable(error, socket as Socket))
  return server
}

/**
 * A request that cannot be parsed as HTTP gets a short answer, and its connection is closed: nothing after it can be
 * trusted.
 */
function refuseUnreadable(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy()
  const [status, code] =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? ['431 Request Header Fields Too Large', 'SRV_HEADERS']
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? ['408 Request Timeout', 'SRV_TIMEOUT']
        : ['400 Bad Request', 'SRV_REQUEST']
  const body = JSON.stringify({
    type: PROBLEM_TYPE_BASE + code,
    title: status?.slice(4),
    status: Number(status?.slice(0, 3)),
    code,
    request_id: '-',
  })
  socket.end(
    `HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Type: application/problem+json\r\nContent-Length: ` +
      `${Buffer.byteLength(body)}\r\n\r\n${body}`,
  )
}

/** Invites a body that waits for it (`Expect: 100-continue`), once its sender was found to be allowed. */
function inviteBody(request: FastifyRequest, reply: FastifyReply): void {
  if (request.headers.expect?.toLowerCase() === '100-continue' && !reply.raw.headersSent) reply.raw.writeContinue()
}

/** Bodies: strict JSON, or bytes passed on as a stream; nothing else is read. */
function readBodies(app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, done) => {
    try {
      done(null, parseJsonBody(body as Buffer, MAX_JSON_BYTES))
    } catch (error) {
      done(error as Error)
    }
  })
  for (const type of ['application/octet-stream', 'application/offset+octet-stream', 'application/cesr']) {
    app.addContentTypeParser(type, (_request, payload, done) => done(null, payload))
  }
}

function notFound(app: FastifyInstance, request: FastifyRequest): ServerError {
  const methods = (['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'] as const).filter((method) =>
    app.hasRoute({ method, url: request.url.split('?')[0] ?? '/' }),
  )
  return methods.length > 0 || request.method === 'TRACE'
    ? new ServerError('SRV_METHOD', `This address does not answer ${request.method}`)
    : new ServerError('SRV_NOT_FOUND', 'Nothing is at this address')
}

const FRAMEWORK_ERRORS: Readonly<Record<string, 'SRV_LIMIT' | 'SRV_MEDIA_TYPE' | 'SRV_REQUEST' | 'UP_LENGTH'>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: 'SRV_LIMIT',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'SRV_MEDIA_TYPE',
  FST_ERR_CTP_EMPTY_JSON_BODY: 'SRV_REQUEST',
  FST_ERR_CTP_INVALID_JSON_BODY: 'SRV_REQUEST',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'UP_LENGTH',
  FST_ERR_VALIDATION: 'SRV_REQUEST',
  FST_ERR_BAD_URL: 'SRV_REQUEST',
}

/** Gives errors of the framework and of bodies our codes; anything unknown stays as it is and is answered as a bug. */
function fromFramework(error: unknown): unknown {
  if (error instanceof KeyturnError) {
    return error.code === 'PRIM_JSON' || error.code === 'PRIM_ENCODING' || error.code === 'PRIM_LIMIT'
      ? new ServerError('SRV_REQUEST', error.message, { cause: error })
      : error
  }
  const { code, message } = error as { code?: unknown; message?: unknown }
  const known = typeof code === 'string' ? FRAMEWORK_ERRORS[code] : undefined
  return known === undefined ? error : new ServerError(known, `Cannot read the request: ${String(message)}`)
}

/** Sends an error as a problem document; the server's own faults are logged with their causes. */
export function sendProblem(
  context: ServerContext,
  request: FastifyRequest,
  reply: FastifyReply,
  error: unknown,
): FastifyReply {
  const { status, headers, body } = problemAnswer(error, request.id)
  if (status >= 500) context.log.error({ request_id: request.id, err: describe(error) }, 'request failed')
  if (error instanceof KeyturnError && httpStatus(error) === 413) reply.header('connection', 'close')
  // As bytes, so that the framework adds no character set to the media type.
  return reply.code(status).headers(headers).send(Buffer.from(body))
}

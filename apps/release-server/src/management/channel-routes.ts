import { base64Decode } from '@keyturn/primitives'
import type { FastifyInstance } from 'fastify'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import { channelsOf, readChannel } from '../releases/channels.ts'
import { publish } from '../releases/publication.ts'
import { protectChannel, viewAccess } from '../releases/protect-channel.ts'
import { readProduct } from '../releases/products.ts'
import { maySee } from '../access/actor.ts'
import { namesOf } from '../access/tokens.ts'
import { authorityOf, SCHEMAS_OF_AUTHORITY } from './sent-authority.ts'
import { actorOf, objectSchema, SCHEMAS, sendJson, callerOf } from '../http/route.ts'

interface PublishBody {
  readonly version: string
  readonly head: string
  readonly signatures?: string
  readonly log?: string
  readonly roles?: readonly string[]
}

const params = objectSchema({ p: SCHEMAS.slug, c: SCHEMAS.slug })

function headSequence(ifMatch: string | undefined): number | undefined {
  if (ifMatch === undefined) return undefined
  const [, digits] = /^"?(\d{1,15})"?$/.exec(ifMatch.trim()) ?? []
  if (digits === undefined)
    throw new ServerError('SRV_REQUEST', 'Cannot read header If-Match: expected the sequence of the current head')
  return Number(digits)
}

/** Routes of channels: the pointers to what is offered. */
export function channelRoutes(app: FastifyInstance, context: ServerContext): void {
  channelLookUpRoutes(app, context)
  publishRoute(app, context)
  accessRoutes(app, context)
}

function channelLookUpRoutes(app: FastifyInstance, context: ServerContext): void {
  app.get<{ Params: { p: string } }>(
    '/v1/products/:p/channels',
    {
      config: { scope: 'releases:read', summary: 'Channels of a product' },
      schema: { params: objectSchema({ p: SCHEMAS.slug }) },
    },
    async (request, reply) => {
      await readProduct(context.metadata, request.params.p)
      const items = (await channelsOf(context.metadata, request.params.p)).filter(({ product, channel }) =>
        maySee(actorOf(request), product, channel),
      )
      const names = await namesOf(
        context.metadata,
        items.flatMap(({ wanted }) => (wanted === null ? [] : [wanted.asked_by])),
      )
      return sendJson(reply, 200, { items, names, cursor: null })
    },
  )

  app.get<{ Params: { p: string; c: string } }>(
    '/v1/products/:p/channels/:c',
    {
      config: { scope: 'releases:read', summary: 'One channel' },
      schema: { params },
    },
    async (request, reply) => {
      const view = await readChannel(context.metadata, request.params.p, request.params.c)
      if (view === undefined) throw new ServerError('SRV_NOT_FOUND', 'There is no such channel')
      return sendJson(reply.header('etag', `"${view.head?.sequence ?? 0}"`), 200, view)
    },
  )
}

function publishRoute(app: FastifyInstance, context: ServerContext): void {
  app.post<{ Params: { p: string; c: string }; Body: PublishBody }>(
    '/v1/products/:p/channels/:c(^[a-z0-9-]+)::publish',
    {
      config: { scope: 'releases:publish', summary: 'Make a head current, with the release it pins' },
      schema: {
        params,
        body: objectSchema(
          {
            version: SCHEMAS.version,
            head: SCHEMAS.base64,
            signatures: SCHEMAS.base64,
            ...SCHEMAS_OF_AUTHORITY,
          },
          ['signatures', 'log', 'roles'],
        ),
      },
    },
    async (request, reply) => {
      const { version, head, signatures, log } = request.body
      if (log !== undefined && !actorOf(request).scopes.some((scope) => scope === 'keys:write' || scope === 'admin')) {
        throw new ServerError('SRV_SCOPE', 'The token does not have the scope keys:write, which a new log needs')
      }
      if (log !== undefined && actorOf(request).channels.length > 0) {
        throw new ServerError('SRV_SCOPE', 'The token is limited to channels, and a new log reaches beyond them')
      }
      const view = await publish(
        context,
        {
          product: request.params.p,
          channel: request.params.c,
          version,
          head: base64Decode(head),
          ifHeadSequence: headSequence(request.headers['if-match']),
          signatures: signatures === undefined ? undefined : base64Decode(signatures),
          ...authorityOf(request.body),
        },
        callerOf(request),
      )
      return sendJson(reply, 200, view)
    },
  )
}

function accessRoutes(app: FastifyInstance, context: ServerContext): void {
  const url = '/v1/products/:p/channels/:c/access'
  app.get<{ Params: { p: string; c: string } }>(
    url,
    { config: { scope: 'releases:read', summary: 'Whether a channel needs an access code' }, schema: { params } },
    async (request, reply) => sendJson(reply, 200, await viewAccess(context.metadata, placeOf(request))),
  )

  app.put<{ Params: { p: string; c: string }; Body: { code: string } }>(
    url,
    {
      config: { scope: 'admin', summary: 'Protect the documents of a channel with an access code' },
      schema: {
        params,
        body: objectSchema({ code: { type: 'string', minLength: 8, maxLength: 128, pattern: '^[\\x21-\\x7e]+$' } }),
      },
    },
    async (request, reply) =>
      sendJson(reply, 200, await protectChannel(context, placeOf(request), request.body.code, callerOf(request))),
  )

  app.delete<{ Params: { p: string; c: string } }>(
    url,
    { config: { scope: 'admin', summary: 'Let everybody read a channel again' }, schema: { params } },
    async (request, reply) =>
      sendJson(reply, 200, await protectChannel(context, placeOf(request), undefined, callerOf(request))),
  )
}

function placeOf(request: { readonly params: { p: string; c: string } }): { product: string; channel: string } {
  return { product: request.params.p, channel: request.params.c }
}

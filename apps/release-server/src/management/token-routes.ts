import type { FastifyInstance } from 'fastify'
import { scopes } from '@keyturn/release-client'
import type { NewToken } from '@keyturn/release-client'
import type { ServerContext } from '../context.ts'
import { endSession, listSessions } from '../access/sessions.ts'
import {
  checkGiven,
  createToken,
  daysGiven,
  listTokens,
  MAX_TOKEN_DAYS,
  namesOf,
  revokeToken,
} from '../access/tokens.ts'
import { actorOf, callerOf, objectSchema, SCHEMAS, sendJson } from '../http/route.ts'

/** Routes of tokens and sessions. */
export function tokenRoutes(app: FastifyInstance, context: ServerContext): void {
  app.get(
    '/v1/tokens',
    {
      config: { scope: 'admin', reach: 'checked', summary: 'Tokens that reach no further than yours, without secrets' },
    },
    async (request, reply) =>
      sendJson(reply, 200, { items: await listTokens(context.metadata, actorOf(request)), cursor: null }),
  )

  app.post<{ Body: NewToken }>(
    '/v1/tokens',
    {
      config: {
        scope: 'admin',
        reach: 'checked',
        idempotent: false,
        summary: 'Create a token that can do no more than yours; its secret is shown this once',
      },
      schema: {
        body: objectSchema(
          {
            name: { type: 'string', minLength: 1, maxLength: 120 },
            scopes: { type: 'array', minItems: 1, items: { type: 'string', enum: [...scopes] } },
            products: { type: 'array', items: SCHEMAS.slug },
            channels: { type: 'array', items: SCHEMAS.slug },
            days: { type: 'integer', minimum: 1, maximum: MAX_TOKEN_DAYS },
            upload_quota: { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER },
          },
          ['products', 'channels', 'days', 'upload_quota'],
        ),
      },
    },
    async (request, reply) => {
      const actor = actorOf(request)
      checkGiven(actor, request.body)
      const days = await daysGiven(context, actor, request.body.days)
      return sendJson(reply, 201, await createToken(context, { ...request.body, days }, callerOf(request)))
    },
  )

  app.delete<{ Params: { id: string } }>(
    '/v1/tokens/:id',
    { config: { scope: 'admin', reach: 'checked', summary: 'Revoke a token at once' } },
    async (request, reply) => {
      await revokeToken(context, request.params.id, callerOf(request), actorOf(request))
      return reply.code(204).send()
    },
  )

  sessionRoutes(app, context)
}

function sessionRoutes(app: FastifyInstance, context: ServerContext): void {
  app.get(
    '/v1/sessions',
    { config: { scope: 'admin', reach: 'checked', summary: 'Open sessions of the dashboard' } },
    async (request, reply) => {
      const items = await listSessions(context, actorOf(request))
      const names = await namesOf(
        context.metadata,
        items.map(({ actor }) => actor),
      )
      return sendJson(reply, 200, { items, names, cursor: null })
    },
  )

  app.delete<{ Params: { id: string } }>(
    '/v1/sessions/:id',
    {
      config: { scope: 'admin', reach: 'checked', summary: 'End a session at once' },
      schema: { params: objectSchema({ id: { type: 'string', pattern: '^[0-9a-f]{32}$' } }) },
    },
    async (request, reply) => {
      await endSession(context, request.params.id, callerOf(request), actorOf(request))
      return reply.code(204).send()
    },
  )
}

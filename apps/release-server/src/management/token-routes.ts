import type { FastifyInstance } from 'fastify'
import { scopes } from '@keyturn/release-client'
import type { AuditEntry, NewToken } from '@keyturn/release-client'
import { auditEntries, auditKey } from '../audit/audit.ts'
import type { ServerContext } from '../context.ts'
import { endSession, listSessions } from '../access/sessions.ts'
import { checkGiven, createToken, listTokens, MAX_TOKEN_DAYS, namesOf, revokeToken } from '../access/tokens.ts'
import { actorOf, callerOf, objectSchema, pageLimit, QUERY_NUMBER, SCHEMAS, sendJson } from '../http/route.ts'

/** Routes of tokens, sessions and the audit log. */
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
      checkGiven(actorOf(request), request.body)
      return sendJson(reply, 201, await createToken(context, request.body, callerOf(request)))
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
  auditRoutes(app, context)
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

function auditRoutes(app: FastifyInstance, context: ServerContext): void {
  app.get<{ Querystring: { after?: string; limit?: string; actor?: string; action?: string; newest?: string } }>(
    '/v1/audit',
    {
      config: {
        scope: 'audit:read',
        summary: 'The audit log, oldest first (or only its newest entries); as NDJSON when asked for by Accept',
      },
      schema: {
        querystring: objectSchema(
          {
            after: QUERY_NUMBER,
            limit: QUERY_NUMBER,
            actor: SCHEMAS.text,
            action: SCHEMAS.text,
            newest: { type: 'string', enum: ['true'] },
          },
          ['after', 'limit', 'actor', 'action', 'newest'],
        ),
      },
    },
    async (request, reply) => {
      const { actor, action } = request.query
      const after = Number(request.query.after ?? 0)
      const limit = pageLimit(request.query.limit)
      if (request.query.newest !== undefined) {
        const newest = await auditEntries.list(context.metadata, { reverse: true, limit })
        const items = newest.map(({ value }) => value)
        return sendJson(reply, 200, { items, names: await namesIn(context, items), cursor: null })
      }
      const items = await auditPage(
        context,
        { after, limit },
        (entry) => (actor === undefined || entry.actor === actor) && (action === undefined || entry.action === action),
      )
      if (request.headers.accept?.includes('application/x-ndjson') === true) {
        return reply
          .header('cache-control', 'no-store')
          .type('application/x-ndjson')
          .send(items.map((entry) => `${JSON.stringify(entry)}\n`).join(''))
      }
      return sendJson(reply, 200, {
        items,
        names: await namesIn(context, items),
        cursor: items.length < limit ? null : String(items.at(-1)?.sequence ?? after),
      })
    },
  )
}

function namesIn(context: ServerContext, items: readonly AuditEntry[]): Promise<Readonly<Record<string, string>>> {
  return namesOf(
    context.metadata,
    items.map(({ actor }) => actor),
  )
}

async function auditPage(
  context: ServerContext,
  { after, limit }: { readonly after: number; readonly limit: number },
  wanted: (entry: AuditEntry) => boolean,
): Promise<AuditEntry[]> {
  const found: AuditEntry[] = []
  for await (const page of auditEntries.pages(context.metadata, { after: auditKey(after), limit: 1000 })) {
    for (const { value } of page) {
      if (wanted(value)) found.push(value)
      if (found.length === limit) return found
    }
  }
  return found
}

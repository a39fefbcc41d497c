import type { FastifyInstance } from 'fastify'
import { scopes } from '@keyturn/release-client'
import type { AuditEntry, NewToken } from '@keyturn/release-client'
import { auditEntries, auditKey } from '../audit/audit.ts'
import type { ServerContext } from '../context.ts'
import { endSession, listSessions } from '../access/sessions.ts'
import { createToken, listTokens, MAX_TOKEN_DAYS, revokeToken } from '../access/tokens.ts'
import { callerOf, objectSchema, pageLimit, QUERY_NUMBER, SCHEMAS, sendJson } from '../http/route.ts'

/** Routes of tokens, sessions and the audit log. */
export function tokenRoutes(app: FastifyInstance, context: ServerContext): void {
  app.get(
    '/v1/tokens',
    { config: { scope: 'admin', summary: 'All tokens, without secrets' } },
    async (_request, reply) => sendJson(reply, 200, { items: await listTokens(context.metadata), cursor: null }),
  )

  app.post<{ Body: NewToken }>(
    '/v1/tokens',
    {
      config: { scope: 'admin', idempotent: false, summary: 'Create a token; its secret is shown this once' },
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
    async (request, reply) => sendJson(reply, 201, await createToken(context, request.body, callerOf(request))),
  )

  app.delete<{ Params: { id: string } }>(
    '/v1/tokens/:id',
    { config: { scope: 'admin', summary: 'Revoke a token at once' } },
    async (request, reply) => {
      await revokeToken(context, request.params.id, callerOf(request))
      return reply.code(204).send()
    },
  )

  app.get(
    '/v1/sessions',
    { config: { scope: 'admin', summary: 'Open sessions of the dashboard' } },
    async (_request, reply) => sendJson(reply, 200, { items: await listSessions(context), cursor: null }),
  )

  app.delete<{ Params: { id: string } }>(
    '/v1/sessions/:id',
    {
      config: { scope: 'admin', summary: 'End a session at once' },
      schema: { params: objectSchema({ id: { type: 'string', pattern: '^[0-9a-f]{32}$' } }) },
    },
    async (request, reply) => {
      await endSession(context, request.params.id, callerOf(request))
      return reply.code(204).send()
    },
  )

  auditRoutes(app, context)
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
        return sendJson(reply, 200, { items: newest.map(({ value }) => value), cursor: null })
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
        cursor: items.length < limit ? null : String(items.at(-1)?.sequence ?? after),
      })
    },
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

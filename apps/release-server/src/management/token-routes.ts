import type { FastifyInstance } from 'fastify'
import { scopes } from '@keyturn/release-client'
import type { AuditEntry, NewToken } from '@keyturn/release-client'
import { auditKey } from '../audit/audit.ts'
import type { ServerContext } from '../context.ts'
import { createToken, listTokens, revokeToken } from '../access/tokens.ts'
import { actorOf, objectSchema, pageLimit, queryNumber, schemas, sendJson } from '../http/route.ts'

/** Routes of tokens and of the audit log. */
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
            products: { type: 'array', items: schemas.slug },
            channels: { type: 'array', items: schemas.slug },
            days: { type: 'integer', minimum: 1, maximum: 400 },
          },
          ['products', 'channels', 'days'],
        ),
      },
    },
    async (request, reply) =>
      sendJson(reply, 201, await createToken(context, request.body, actorOf(request).name, request.id)),
  )

  app.delete<{ Params: { id: string } }>(
    '/v1/tokens/:id',
    { config: { scope: 'admin', summary: 'Revoke a token at once' } },
    async (request, reply) => {
      await revokeToken(context, request.params.id, actorOf(request).name, request.id)
      return reply.code(204).send()
    },
  )

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
            after: queryNumber,
            limit: queryNumber,
            actor: schemas.text,
            action: schemas.text,
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
        const newest = await context.metadata.list('audit', { reverse: true, limit })
        return sendJson(reply, 200, { items: newest.map(({ value }) => value), cursor: null })
      }
      const items = await auditPage(
        context,
        after,
        limit,
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
  after: number,
  limit: number,
  wanted: (entry: AuditEntry) => boolean,
): Promise<AuditEntry[]> {
  const found: AuditEntry[] = []
  for (let from = after; found.length < limit;) {
    const page = await context.metadata.list('audit', { after: auditKey(from), limit: 1000 })
    for (const { value } of page) {
      const entry = value as unknown as AuditEntry
      from = entry.sequence
      if (wanted(entry) && found.length < limit) found.push(entry)
    }
    if (page.length < 1000) break
  }
  return found
}

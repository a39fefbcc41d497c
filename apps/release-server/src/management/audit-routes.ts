import type { FastifyInstance } from 'fastify'
import type { AuditEntry } from '@keyturn/release-client'
import { namesOf } from '../access/tokens.ts'
import { auditEntries, auditKey } from '../audit/audit.ts'
import type { ServerContext } from '../context.ts'
import { objectSchema, pageLimit, QUERY_NUMBER, SCHEMAS, sendJson } from '../http/route.ts'
import { searchAudit } from './audit-search.ts'

interface AuditQuery {
  readonly after?: string
  readonly before?: string
  readonly limit?: string
  readonly actor?: string
  readonly action?: string
  readonly text?: string
  readonly day?: string
  readonly newest?: string
}

const SHORT_TEXT = { type: 'string', maxLength: 100 }

/** The route of the audit log: from its start, or backward with a search. */
export function auditRoutes(app: FastifyInstance, context: ServerContext): void {
  app.get<{ Querystring: AuditQuery }>(
    '/v1/audit',
    {
      config: {
        scope: 'audit:read',
        summary: 'The audit log, oldest first (or searched from its newest entry); as NDJSON when asked for by Accept',
      },
      schema: {
        querystring: objectSchema(
          {
            after: QUERY_NUMBER,
            before: QUERY_NUMBER,
            limit: QUERY_NUMBER,
            actor: SCHEMAS.text,
            action: SCHEMAS.text,
            text: SHORT_TEXT,
            day: { type: 'string', pattern: '^\\d{4}-\\d{2}-\\d{2}$' },
            newest: { type: 'string', enum: ['true'] },
          },
          ['after', 'before', 'limit', 'actor', 'action', 'text', 'day', 'newest'],
        ),
      },
    },
    async (request, reply) => {
      const { actor, action, text, day, before } = request.query
      const after = Number(request.query.after ?? 0)
      const limit = pageLimit(request.query.limit)
      if (request.query.newest !== undefined) {
        const wanted = { actor, action, text, day, before: before === undefined ? undefined : Number(before), limit }
        return sendJson(reply, 200, await searchAudit(context.metadata, wanted))
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
        names: await namesOf(
          context.metadata,
          items.map((entry) => entry.actor),
        ),
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

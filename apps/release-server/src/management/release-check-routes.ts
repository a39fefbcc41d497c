import type { FastifyInstance } from 'fastify'
import type { ReleaseChecks } from '../releases/release-check.ts'
import { objectSchema, schemas, sendJson, callerOf } from '../http/route.ts'

/** Routes of checks: begin one, look how it stands. */
export function releaseCheckRoutes(app: FastifyInstance, checks: ReleaseChecks): void {
  app.post<{ Params: { p: string; c: string; v: string }; Body: { sample?: number } }>(
    '/v1/products/:p/channels/:c/releases/:v(^[A-Za-z0-9._+-]+)::verify',
    {
      config: {
        scope: 'releases:read',
        summary: 'Verify signatures and hash the blobs of a release, all or a sample',
        answers: { 202: 'Begun; ask for it under Location' },
      },
      schema: {
        params: objectSchema({ p: schemas.slug, c: schemas.slug, v: schemas.version }),
        body: objectSchema({ sample: { type: 'integer', minimum: 1, maximum: 1_000_000 } }, ['sample']),
      },
    },
    async (request, reply) => {
      const { p, c, v } = request.params
      const view = await checks.start(p, c, v, request.body.sample, callerOf(request))
      return sendJson(reply.header('location', `/v1/products/${p}/checks/${view.id}`), 202, view)
    },
  )

  app.get<{ Params: { p: string; id: string } }>(
    '/v1/products/:p/checks/:id',
    {
      config: { scope: 'releases:read', summary: 'How a check of a release stands' },
      schema: { params: objectSchema({ p: schemas.slug, id: { type: 'string', pattern: '^[A-Za-z0-9_-]{16}$' } }) },
    },
    async (request, reply) => sendJson(reply, 200, await checks.get(request.params.p, request.params.id)),
  )
}

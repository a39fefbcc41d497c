import type { FastifyInstance } from 'fastify'
import { maySee } from '../access/actor.ts'
import { ServerError } from '../errors.ts'
import type { ReleaseChecks } from '../releases/release-check.ts'
import { objectSchema, SCHEMAS, sendJson, callerOf, actorOf } from '../http/route.ts'

/** Routes of checks: start one, look up its state. */
export function releaseCheckRoutes(app: FastifyInstance, checks: ReleaseChecks): void {
  app.post<{ Params: { p: string; c: string; v: string }; Body: { sample?: number } }>(
    '/v1/products/:p/channels/:c/releases/:v(^[A-Za-z0-9._+-]+)::verify',
    {
      config: {
        scope: 'releases:read',
        summary: 'Verify signatures and hash the blobs of a release, all or a sample',
        answers: { 202: 'Started; ask for it under Location' },
      },
      schema: {
        params: objectSchema({ p: SCHEMAS.slug, c: SCHEMAS.slug, v: SCHEMAS.version }),
        body: objectSchema({ sample: { type: 'integer', minimum: 1, maximum: 1_000_000 } }, ['sample']),
      },
    },
    async (request, reply) => {
      const { p, c, v } = request.params
      const subject = { product: p, channel: c, version: v, sample: request.body.sample }
      const view = await checks.start(subject, callerOf(request))
      return sendJson(reply.header('location', `/v1/products/${p}/checks/${view.id}`), 202, view)
    },
  )

  app.get<{ Params: { p: string; id: string } }>(
    '/v1/products/:p/checks/:id',
    {
      config: { scope: 'releases:read', summary: 'The state of a check of a release' },
      schema: { params: objectSchema({ p: SCHEMAS.slug, id: { type: 'string', pattern: '^[A-Za-z0-9_-]{16}$' } }) },
    },
    async (request, reply) => {
      const view = await checks.get(request.params.p, request.params.id)
      if (!maySee(actorOf(request), view.product, view.channel))
        throw new ServerError('SRV_NOT_FOUND', 'There is no such check')
      return sendJson(reply, 200, view)
    },
  )
}

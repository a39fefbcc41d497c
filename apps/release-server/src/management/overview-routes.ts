import type { FastifyInstance } from 'fastify'
import type { ServerContext } from '../context.ts'
import { keyAges } from '../keys/key-ages.ts'
import { StorageFigures } from '../ops/storage-view.ts'
import { maySee } from '../access/actor.ts'
import { actorOf, objectSchema, SCHEMAS, sendJson } from '../http/route.ts'

/** Routes of what the dashboard shows besides releases: keys with their due dates, and the stores. */
export function overviewRoutes(app: FastifyInstance, context: ServerContext): void {
  const storage = new StorageFigures(context)

  app.get<{ Params: { p: string } }>(
    '/v1/products/:p/keys',
    {
      config: {
        scope: 'releases:read',
        summary: 'Keys of a product: state, age, when the rotation is due, end of the overlap',
      },
      schema: { params: objectSchema({ p: SCHEMAS.slug }) },
    },
    async (request, reply) =>
      sendJson(reply, 200, {
        items: await keyAges(context, request.params.p, (channel) =>
          maySee(actorOf(request), request.params.p, channel),
        ),
        cursor: null,
      }),
  )

  app.get(
    '/v1/storage',
    { config: { scope: 'stats:read', summary: 'What the stores hold; counted at most twice a minute' } },
    async (_request, reply) => sendJson(reply, 200, await storage.view()),
  )
}

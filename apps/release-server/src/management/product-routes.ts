import type { FastifyInstance } from 'fastify'
import type { NewProduct } from '@keyturn/release-client'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import { maxLogBytes, maxRolesBytes } from '../limits.ts'
import { createProduct, stageRoles, viewProduct } from '../releases/products.ts'
import { replaceLog } from '../releases/publish.ts'
import { maySee } from '../access/tokens.ts'
import { documentBody } from '../http/body-stream.ts'
import { actorOf, objectSchema, schemas, sendJson, callerOf } from '../http/route.ts'

const params = objectSchema({ p: schemas.slug })

/** Routes of products, their key event logs and role documents. */
export function productRoutes(app: FastifyInstance, context: ServerContext): void {
  app.get(
    '/v1/products',
    { config: { scope: 'releases:read', summary: 'Products this token may see' } },
    async (request, reply) => {
      const records = await context.metadata.list('products')
      const visible = records.filter(({ key }) => maySee(actorOf(request), key))
      return sendJson(reply, 200, {
        items: await Promise.all(visible.map(({ key }) => viewProduct(context.metadata, key))),
        cursor: null,
      })
    },
  )

  app.post<{ Body: NewProduct }>(
    '/v1/products',
    {
      config: { scope: 'admin', summary: 'Create a product' },
      schema: {
        body: objectSchema(
          {
            slug: schemas.slug,
            name: { type: 'string', minLength: 1, maxLength: 120 },
            pin: { type: 'string', minLength: 1, maxLength: 4096 },
            default_channel: schemas.slug,
            is_default: { type: 'boolean' },
            runtime_key_access: { type: 'string', enum: ['open', 'devices'] },
          },
          ['name', 'default_channel', 'is_default', 'runtime_key_access'],
        ),
      },
    },
    async (request, reply) => {
      if (!maySee(actorOf(request), request.body.slug))
        throw new ServerError('SRV_SCOPE', 'The token is limited to other products')
      const { created, view } = await createProduct(context, request.body, callerOf(request))
      return sendJson(reply, created ? 201 : 200, view)
    },
  )

  app.get<{ Params: { p: string } }>(
    '/v1/products/:p',
    { config: { scope: 'releases:read', summary: 'A product with its trust state' }, schema: { params } },
    async (request, reply) => sendJson(reply, 200, await viewProduct(context.metadata, request.params.p)),
  )

  app.put<{ Params: { p: string }; Querystring: { force?: string } }>(
    '/v1/products/:p/log',
    {
      config: {
        scope: 'keys:write',
        summary: 'Replace the key event log by a longer one',
        bodyType: 'application/cesr',
      },
      schema: { params, querystring: objectSchema({ force: { type: 'string', enum: ['true', 'false'] } }, ['force']) },
    },
    async (request, reply) => {
      const { p } = request.params
      await replaceLog(
        context,
        p,
        await documentBody(request, maxLogBytes),
        request.query.force === 'true',
        callerOf(request),
      )
      return sendJson(reply, 200, await viewProduct(context.metadata, p))
    },
  )

  app.put<{ Params: { p: string; n: string } }>(
    '/v1/products/:p/roles/:n',
    {
      config: {
        scope: 'keys:write',
        summary: 'Upload a role document; the log that seals it makes it public',
        bodyType: 'application/octet-stream',
      },
      schema: { params: objectSchema({ p: schemas.slug, n: { type: 'string', pattern: '^[1-9][0-9]{0,8}$' } }) },
    },
    async (request, reply) => {
      const { p, n } = request.params
      await stageRoles(context, p, Number(n), await documentBody(request, maxRolesBytes), callerOf(request))
      return reply.code(204).send()
    },
  )
}

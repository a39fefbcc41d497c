import type { FastifyInstance } from 'fastify'
import type { FastifyRequest } from 'fastify'
import type { NewProduct, ProductChange } from '@keyturn/release-client'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import { MAX_ANONYMOUS_BYTES, MAX_LOG_BYTES, MAX_ROLES_BYTES } from '../limits.ts'
import { isLimited, maySee } from '../access/actor.ts'
import { replaceLog } from '../releases/authority.ts'
import { recordKill } from '../releases/kills.ts'
import { changeProduct, createProduct, products, stageRoles, viewProduct } from '../releases/products.ts'
import type { ProductCaller } from '../releases/products.ts'
import { documentBody } from '../http/body-stream.ts'
import { actorOf, objectSchema, SCHEMAS, sendJson, callerOf } from '../http/route.ts'

const params = objectSchema({ p: SCHEMAS.slug })
/** Members of a product that an administrator sets. */
const members = {
  name: { type: 'string', minLength: 1, maxLength: 120 },
  default_channel: SCHEMAS.slug,
  is_default: { type: 'boolean' },
  runtime_key_access: { type: 'string', enum: ['open', 'devices'] },
  pinned_keys: { type: 'array', maxItems: 16, items: { type: 'string', pattern: '^[0-9a-f]{64}$' } },
}

function productCallerOf(request: FastifyRequest): ProductCaller {
  return { ...callerOf(request), limited: isLimited(actorOf(request)) }
}

/** Routes of products, their key event logs and role documents. */
export function productRoutes(app: FastifyInstance, context: ServerContext): void {
  settingRoutes(app, context)
  authorityRoutes(app, context)
  killRoute(app, context)
}

/** Without a scope: a publisher who lost the laptop with the token may still have the key. */
function killRoute(app: FastifyInstance, context: ServerContext): void {
  app.post<{ Params: { p: string } }>(
    '/v1/products/:p/kills',
    {
      config: {
        rate: 'login',
        idempotent: false,
        summary: 'End a release or head key, by a notice that the key itself signed',
        bodyType: 'application/octet-stream',
      },
      schema: { params },
    },
    async (request, reply) => {
      const notice = await documentBody(request, MAX_ANONYMOUS_BYTES)
      const { p: product } = request.params
      return sendJson(reply, 200, await recordKill(context, { product, notice, requestId: request.id }))
    },
  )
}

function settingRoutes(app: FastifyInstance, context: ServerContext): void {
  app.get(
    '/v1/products',
    { config: { scope: 'releases:read', reach: 'checked', summary: 'Products that the caller may see' } },
    async (request, reply) => {
      const visible = (await products.all(context.metadata)).filter(({ key }) => maySee(actorOf(request), key))
      return sendJson(reply, 200, {
        items: await Promise.all(visible.map(({ key }) => viewProduct(context.metadata, key))),
        cursor: null,
      })
    },
  )

  app.post<{ Body: NewProduct }>(
    '/v1/products',
    {
      config: { scope: 'admin', reach: 'checked', summary: 'Create a product' },
      schema: {
        body: objectSchema(
          { slug: SCHEMAS.slug, pin: { type: 'string', minLength: 1, maxLength: 4096 }, ...members },
          Object.keys(members),
        ),
      },
    },
    async (request, reply) => {
      const { products: own, channels } = actorOf(request)
      if (channels.length > 0 || (own.length > 0 && !own.includes(request.body.slug)))
        throw new ServerError('SRV_SCOPE', 'The token is limited to other products, or to channels')
      const { created, view } = await createProduct(context, request.body, productCallerOf(request))
      return sendJson(reply, created ? 201 : 200, view)
    },
  )

  app.patch<{ Params: { p: string }; Body: ProductChange }>(
    '/v1/products/:p',
    {
      config: { scope: 'admin', summary: 'Change a product; only unlimited administrators move the root of the tree' },
      schema: { params, body: { ...objectSchema(members, Object.keys(members)), minProperties: 1 } },
    },
    async (request, reply) =>
      sendJson(reply, 200, await changeProduct(context, request.params.p, request.body, productCallerOf(request))),
  )

  app.get<{ Params: { p: string } }>(
    '/v1/products/:p',
    { config: { scope: 'releases:read', summary: 'A product with its trust state' }, schema: { params } },
    async (request, reply) => sendJson(reply, 200, await viewProduct(context.metadata, request.params.p)),
  )
}

function authorityRoutes(app: FastifyInstance, context: ServerContext): void {
  app.put<{ Params: { p: string }; Querystring: { force?: string } }>(
    '/v1/products/:p/log',
    {
      config: {
        scope: 'keys:write',
        summary: 'Replace the key event log with a longer one',
        bodyType: 'application/cesr',
      },
      schema: { params, querystring: objectSchema({ force: { type: 'string', enum: ['true', 'false'] } }, ['force']) },
    },
    async (request, reply) => {
      const { p } = request.params
      const log = await documentBody(request, MAX_LOG_BYTES)
      await replaceLog(context, { product: p, log, force: request.query.force === 'true' }, callerOf(request))
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
      schema: { params: objectSchema({ p: SCHEMAS.slug, n: { type: 'string', pattern: '^[1-9][0-9]{0,8}$' } }) },
    },
    async (request, reply) => {
      const { p, n } = request.params
      const bytes = await documentBody(request, MAX_ROLES_BYTES)
      await stageRoles(context, { product: p, version: Number(n), bytes }, callerOf(request))
      return reply.code(204).send()
    },
  )
}

import type { FastifyInstance } from 'fastify'
import type { HealthView } from '@keyturn/release-client'
import { namesOf } from '../access/tokens.ts'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import type { Funnel } from '../events/funnel.ts'
import { callerOf, objectSchema, SCHEMAS, sendJson } from '../http/route.ts'
import { DEFAULT_SAMPLE, readAutoHalt, removeAutoHalt, setAutoHalt } from '../ops/auto-halt.ts'
import { readChannel } from '../releases/channels.ts'

interface ChannelRequest {
  readonly Params: { readonly p: string; readonly c: string }
}

const params = objectSchema({ p: SCHEMAS.slug, c: SCHEMAS.slug })

/** Routes of how a release fares, and of the rule by which it halts itself. */
export function healthViewRoutes(app: FastifyInstance, context: ServerContext, funnel: Funnel): void {
  app.get<ChannelRequest>(
    '/v1/products/:p/channels/:c/health',
    {
      config: {
        scope: 'stats:read',
        summary: 'How far updates to the release on offer get, beside the release before it: counts of launchers',
      },
      schema: { params },
    },
    async (request, reply) => {
      const { p: product, c: channel } = request.params
      const view = await readChannel(context.metadata, product, channel)
      if (view === undefined) throw new ServerError('SRV_NOT_FOUND', 'There is no such channel')
      const before = view.fallback ?? view.before ?? null
      const health: HealthView = {
        product,
        channel,
        release: view.manifest === null ? null : await funnel.view(product, channel, view.manifest.version),
        before: before === null ? null : await funnel.view(product, channel, before.version),
        auto_halt: await readAutoHalt(context.metadata, { product, channel }),
      }
      const setBy = health.auto_halt === null ? [] : [health.auto_halt.set_by]
      return sendJson(reply, 200, { ...health, names: await namesOf(context.metadata, setBy) })
    },
  )

  autoHaltRoutes(app, context, funnel)
}

function autoHaltRoutes(app: FastifyInstance, context: ServerContext, funnel: Funnel): void {
  app.put<ChannelRequest & { Body: { percent: number; sample?: number } }>(
    '/v1/products/:p/channels/:c/auto-halt',
    {
      config: {
        scope: 'rollout:write',
        summary: 'Halt the release on offer by itself when fewer of its reported starts live than this percentage',
      },
      schema: {
        params,
        body: objectSchema(
          {
            percent: { type: 'integer', minimum: 1, maximum: 99 },
            sample: { type: 'integer', minimum: 10, maximum: 1_000_000 },
          },
          ['sample'],
        ),
      },
    },
    async (request, reply) => {
      const { percent, sample = DEFAULT_SAMPLE } = request.body
      const rule = { product: request.params.p, channel: request.params.c, percent, sample }
      return sendJson(reply, 200, await setAutoHalt(context, funnel, rule, callerOf(request)))
    },
  )

  app.delete<ChannelRequest>(
    '/v1/products/:p/channels/:c/auto-halt',
    { config: { scope: 'rollout:write', summary: 'Let the release on offer go on by itself' }, schema: { params } },
    async (request, reply) => {
      await removeAutoHalt(context, { product: request.params.p, channel: request.params.c }, callerOf(request))
      return reply.code(204).send()
    },
  )
}

import type { FastifyInstance } from 'fastify'
import type { ServerContext } from '../context.ts'
import {
  createWebhook,
  deleteWebhook,
  listWebhooks,
  pauseWebhook,
  pingWebhook,
  rotateWebhookSecret,
} from '../events/webhooks.ts'
import type { WebhookSecrets } from '../events/webhook-secrets.ts'
import { objectSchema, sendJson, callerOf } from '../http/route.ts'

const params = objectSchema({ id: { type: 'string', pattern: '^[A-Za-z0-9_-]{16}$' } })

/** Routes of webhooks: create, list, rotate the secret, test, pause, delete. */
export function webhookRoutes(app: FastifyInstance, context: ServerContext, secrets: WebhookSecrets): void {
  webhookListRoutes(app, context, secrets)
  webhookChangeRoutes(app, context, secrets)
}

function webhookListRoutes(app: FastifyInstance, context: ServerContext, secrets: WebhookSecrets): void {
  const scope = 'admin'
  app.get('/v1/webhooks', { config: { scope, summary: 'All webhooks, without secrets' } }, async (_request, reply) =>
    sendJson(reply, 200, { items: await listWebhooks(context), cursor: null }),
  )

  app.post<{ Body: { url: string; events?: string[] } }>(
    '/v1/webhooks',
    {
      config: { scope, idempotent: false, summary: 'Create a webhook; its secret is shown this once' },
      schema: {
        body: objectSchema(
          {
            url: { type: 'string', maxLength: 2048 },
            events: { type: 'array', maxItems: 50, items: { type: 'string', pattern: '^[a-z.-]{1,64}$' } },
          },
          ['events'],
        ),
      },
    },
    async (request, reply) =>
      sendJson(
        reply,
        201,
        await createWebhook(
          context,
          secrets,
          { url: request.body.url, events: request.body.events ?? [] },
          callerOf(request),
        ),
      ),
  )
}

function webhookChangeRoutes(app: FastifyInstance, context: ServerContext, secrets: WebhookSecrets): void {
  const scope = 'admin'
  app.post<{ Params: { id: string } }>(
    '/v1/webhooks/:id/turn',
    {
      config: { scope, idempotent: false, summary: 'Rotate the secret; the old one signs too until the next rotation' },
      schema: { params },
    },
    async (request, reply) =>
      sendJson(reply, 200, await rotateWebhookSecret(context, secrets, request.params.id, callerOf(request))),
  )

  app.post<{ Params: { id: string } }>(
    '/v1/webhooks/:id/test',
    { config: { scope, summary: 'Send a test event' }, schema: { params } },
    async (request, reply) => {
      await pingWebhook(context, request.params.id)
      return sendJson(reply, 202, {})
    },
  )

  app.patch<{ Params: { id: string }; Body: { paused: boolean } }>(
    '/v1/webhooks/:id',
    {
      config: { scope, summary: 'Pause a webhook or let it go on' },
      schema: { params, body: objectSchema({ paused: { type: 'boolean' } }) },
    },
    async (request, reply) =>
      sendJson(reply, 200, await pauseWebhook(context, request.params.id, request.body.paused, callerOf(request))),
  )

  app.delete<{ Params: { id: string } }>(
    '/v1/webhooks/:id',
    { config: { scope, summary: 'Delete a webhook' }, schema: { params } },
    async (request, reply) => {
      await deleteWebhook(context, secrets, request.params.id, callerOf(request))
      return reply.code(204).send()
    },
  )
}

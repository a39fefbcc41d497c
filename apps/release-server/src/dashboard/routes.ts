import { createHash } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { sendJson, objectSchema } from '../http/route.ts'
import type { Authenticator } from '../access/sessions.ts'
import { pageHtml } from './page.ts'
import { panelsScript } from './panels.ts'
import { pageScript } from './script.ts'
import { pageStyle } from './style.ts'
import { viewScript } from './view.ts'

const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "img-src 'self'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "base-uri 'none'",
].join('; ')

const headers = {
  'content-security-policy': policy,
  'cross-origin-opener-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-frame-options': 'DENY',
  'cache-control': 'no-cache',
}

/** The dashboard: static files, and the session that a token begins. */
export function dashboardRoutes(app: FastifyInstance, authenticator: Authenticator): void {
  const files: readonly [string, string, string][] = [
    ['/dashboard', 'text/html; charset=utf-8', pageHtml],
    ['/dashboard/script.js', 'text/javascript; charset=utf-8', pageScript],
    ['/dashboard/panels.js', 'text/javascript; charset=utf-8', panelsScript],
    ['/dashboard/view.js', 'text/javascript; charset=utf-8', viewScript],
    ['/dashboard/style.css', 'text/css; charset=utf-8', pageStyle],
  ]
  for (const [url, type, text] of files) {
    const etag = `"${createHash('sha256').update(text).digest('hex').slice(0, 32)}"`
    app.get(url, { config: { rate: 'public' } }, async (request, reply) => {
      reply.headers({ ...headers, etag })
      return request.headers['if-none-match'] === etag ? reply.code(304).send() : reply.type(type).send(text)
    })
  }

  app.get('/favicon.ico', { config: { rate: 'public' } }, async (_request, reply) =>
    reply.header('cache-control', 'public, max-age=86400').code(204).send(),
  )

  app.post<{ Body: { token: string } }>(
    '/dashboard/login',
    {
      config: { rate: 'login', idempotent: false },
      schema: { body: objectSchema({ token: { type: 'string', minLength: 1, maxLength: 4096 } }) },
    },
    async (request, reply) => {
      authenticator.checkOrigin(request)
      const secure =
        request.headers['x-forwarded-proto'] === 'https' || request.headers.origin?.startsWith('https:') === true
      const { actor, cookie } = await authenticator.logIn(request.body.token, secure)
      return sendJson(reply.header('set-cookie', cookie), 200, { name: actor.name, scopes: actor.scopes })
    },
  )

  app.get('/dashboard/session', { config: { rate: 'public' } }, async (request, reply) => {
    const { name, scopes } = await authenticator.authenticate(request)
    return sendJson(reply, 200, { name, scopes })
  })

  app.post('/dashboard/logout', { config: { rate: 'login', idempotent: false } }, async (request, reply) => {
    authenticator.checkOrigin(request)
    return reply
      .header('set-cookie', await authenticator.logOut(request))
      .code(204)
      .send()
  })
}

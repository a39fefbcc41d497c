import { createHash } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { sendJson, objectSchema } from '../http/route.ts'
import { ServerError } from '../errors.ts'
import type { Authenticator } from '../access/sessions.ts'
import { AUDIT_SCRIPT } from './audit.ts'
import { HEALTH_SCRIPT } from './health.ts'
import { RELEASES_SCRIPT } from './releases.ts'
import { PAGE_HTML } from './page.ts'
import { PANELS_SCRIPT } from './panels.ts'
import { ACCESS_SCRIPT } from './access.ts'
import { PAGE_SCRIPT } from './script.ts'
import { PAGE_STYLE } from './style.ts'
import { VIEW_SCRIPT } from './view.ts'

const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "img-src 'self'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "base-uri 'none'",
].join('; ')

const HEADERS = {
  'content-security-policy': POLICY,
  'cross-origin-opener-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-frame-options': 'DENY',
  'cache-control': 'no-cache',
}

/** Address, media type and text of each file. */
const FILES: readonly [string, string, string][] = [
  ['/dashboard', 'text/html; charset=utf-8', PAGE_HTML],
  ['/dashboard/script.js', 'text/javascript; charset=utf-8', PAGE_SCRIPT],
  ['/dashboard/access.js', 'text/javascript; charset=utf-8', ACCESS_SCRIPT],
  ['/dashboard/audit.js', 'text/javascript; charset=utf-8', AUDIT_SCRIPT],
  ['/dashboard/health.js', 'text/javascript; charset=utf-8', HEALTH_SCRIPT],
  ['/dashboard/releases.js', 'text/javascript; charset=utf-8', RELEASES_SCRIPT],
  ['/dashboard/panels.js', 'text/javascript; charset=utf-8', PANELS_SCRIPT],
  ['/dashboard/view.js', 'text/javascript; charset=utf-8', VIEW_SCRIPT],
  ['/dashboard/style.css', 'text/css; charset=utf-8', PAGE_STYLE],
]

/** The dashboard: static files, and the session that a token starts. */
export function dashboardRoutes(app: FastifyInstance, authenticator: Authenticator): void {
  for (const [url, type, text] of FILES) {
    const etag = `"${createHash('sha256').update(text).digest('hex').slice(0, 32)}"`
    app.get(url, { config: { rate: 'public' } }, async (request, reply) => {
      reply.headers({ ...HEADERS, etag })
      return request.headers['if-none-match'] === etag ? reply.code(304).send() : reply.type(type).send(text)
    })
  }

  // People type the address of the server; programs get the answer of any address that names nothing.
  app.get('/', { config: { rate: 'public' } }, async (request, reply) => {
    if (request.headers.accept?.includes('text/html') !== true)
      throw new ServerError('SRV_NOT_FOUND', 'Nothing is at this address', {
        hint: 'The dashboard is at /dashboard, the description of the API at /openapi.json',
      })
    return reply.header('cache-control', 'no-store').redirect('/dashboard', 303)
  })

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
    const { name, scopes, products, channels } = await authenticator.authenticate(request)
    const { [name]: title = name } = await authenticator.namesOf([name])
    return sendJson(reply, 200, { name, title, scopes, products, channels })
  })

  app.post('/dashboard/logout', { config: { rate: 'login', idempotent: false } }, async (request, reply) => {
    authenticator.checkOrigin(request)
    return reply
      .header('set-cookie', await authenticator.logOut(request))
      .code(204)
      .send()
  })
}

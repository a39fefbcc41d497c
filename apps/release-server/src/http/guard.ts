import type { FastifyReply, FastifyRequest } from 'fastify'
import { hasScope, isLimited, maySee } from '../access/actor.ts'
import type { Actor } from '../access/actor.ts'
import type { RateLimits } from '../access/rates.ts'
import { ServerError } from '../errors.ts'

/** What the guard asks. */
export interface GuardParts {
  readonly rates: RateLimits
  /** Finds out who makes a request, by token or by the session of the dashboard, and counts those who fail. */
  readonly authenticate: (request: FastifyRequest) => Promise<Actor>
}

/** Scopes that reach beyond one product on routes that name none. */
const FAR_REACHING = new Set<string>(['admin', 'audit:read', 'keys:write'])

/**
 * Lets a request pass before any of its body is read: its route exists, its caller keeps to the rate, holds the scope
 * and stays within its products and channels.
 */
export async function guard(parts: GuardParts, request: FastifyRequest, reply: FastifyReply): Promise<void> {
  reply.header('x-request-id', request.id)
  reply.header('x-content-type-options', 'nosniff')
  // Otherwise a body that nobody asked for would be read to its end, to find the next request behind it.
  if (request.is404 && announcesBody(request)) reply.header('connection', 'close')
  try {
    if (request.is404 || request.routeOptions.config.scope === undefined)
      return parts.rates.checkAnonymous(request, reply)
    request.actor = await requireActor(parts, request, reply)
  } catch (error) {
    // The body was not asked for, and it is not read.
    reply.header('connection', 'close')
    throw error
  }
}

function announcesBody({ headers }: FastifyRequest): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
}

async function requireActor(parts: GuardParts, request: FastifyRequest, reply: FastifyReply): Promise<Actor> {
  const { scope = 'admin', upload = false } = request.routeOptions.config
  const { rates } = parts
  const actor = await parts.authenticate(request).catch((error: unknown) => {
    throw upload && error instanceof ServerError && error.code === 'SRV_AUTH'
      ? new ServerError('UP_AUTH', error.message)
      : error
  })
  if (!upload) rates.checkActor(actor.name, reply)
  if (!hasScope(actor, scope))
    throw new ServerError(upload ? 'UP_SCOPE' : 'SRV_SCOPE', `The token does not have the scope ${scope}`)
  const { p, c } = request.params as { p?: string; c?: string }
  if (p !== undefined && !maySee(actor, p, c))
    throw new ServerError('SRV_NOT_FOUND', 'There is no such product or channel')
  requireReach(request, actor, scope)
  return actor
}

/**
 * A token limited to products or channels must not get beyond them by a call that names none: by making itself a wider
 * token, say, or by changing the log that all channels share.
 */
function requireReach(request: FastifyRequest, actor: Actor, scope: string): void {
  if (request.routeOptions.config.reach === 'checked') return
  const { p, c } = request.params as { p?: string; c?: string }
  const beyondProduct = p === undefined && FAR_REACHING.has(scope) && isLimited(actor)
  const beyondChannel = c === undefined && p !== undefined && actor.channels.length > 0 && request.method !== 'GET'
  if (beyondProduct || beyondChannel)
    throw new ServerError(
      'SRV_SCOPE',
      'The token is limited to products or channels, and this call reaches beyond them',
    )
}

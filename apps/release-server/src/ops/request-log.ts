import type { FastifyReply, FastifyRequest } from 'fastify'
import type { ServerLog } from '../context.ts'
import type { Metrics } from './metrics.ts'

/** Counts and logs answers of the framework side: the route, never the address, which may hold what is secret. */
export function requestLog({
  metrics,
  log,
}: {
  readonly metrics: Metrics
  readonly log: ServerLog
}): (request: FastifyRequest, reply: FastifyReply) => void {
  return (request, reply) => {
    const route = request.routeOptions.url ?? null
    metrics.count('keyturn_requests_total', `route="${route ?? 'none'}",status="${reply.statusCode}"`)
    metrics.observe('keyturn_request_seconds', reply.elapsedTime / 1000)
    log.info(
      {
        request_id: request.id,
        actor: request.actor?.name ?? null,
        method: request.method,
        route,
        status: reply.statusCode,
        duration_ms: Math.round(reply.elapsedTime),
      },
      'request',
    )
  }
}

/** Counts answers of the public tree by method and status, of which there are few. */
export function publicCounter(metrics: Metrics): (method: string, status: number) => void {
  const counters = new Map<string, Map<number, () => void>>()
  return (method, status) => {
    let ofMethod = counters.get(method)
    if (ofMethod === undefined) counters.set(method, (ofMethod = new Map()))
    let count = ofMethod.get(status)
    if (count === undefined)
      ofMethod.set(
        status,
        (count = metrics.counter('keyturn_public_requests_total', `method="${method}",status="${status}"`)),
      )
    count()
  }
}

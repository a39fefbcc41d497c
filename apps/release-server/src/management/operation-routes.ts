import { createHash, timingSafeEqual } from 'node:crypto'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { isRecord } from '@keyturn/primitives'
import type { JsonValue } from '@keyturn/primitives'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import { hasScope, maySee } from '../access/actor.ts'
import type { Actor } from '../access/actor.ts'
import { collectGarbage } from '../releases/gc.ts'
import type { RetentionOptions } from '../releases/gc.ts'
import { MAX_REPORT_BYTES } from '../limits.ts'
import { watchedLogChecks } from '../tlog/watched-health.ts'
import { readiness } from '../ops/health.ts'
import type { HealthReport, ReadinessOptions } from '../ops/health.ts'
import type { HeadRenewal } from '../ops/head-renewal.ts'
import type { Metrics } from '../ops/metrics.ts'
import type { ReleaseChecks } from '../releases/release-check.ts'
import type { Downloads } from '../events/downloads.ts'
import type { Funnel } from '../events/funnel.ts'
import type { Reports } from '../events/reports.ts'
import { renewHead, requestHead } from '../releases/rollout.ts'
import type { HeadSigner } from '../releases/rollout.ts'
import type { EventStreams } from '../events/event-streams.ts'
import { actorOf, callerOf, objectSchema, SCHEMAS, sendJson } from '../http/route.ts'

/** What the routes of operation need besides the stores. */
export interface OperationParts {
  readonly metrics: Metrics
  readonly reports: Reports
  readonly funnel: Funnel
  /** The address that a request counts for. */
  readonly addressOf: (request: FastifyRequest) => string
  readonly downloads: Downloads
  readonly events: EventStreams
  readonly checks: ReleaseChecks
  readonly headSigner: HeadSigner | undefined
  readonly renewal: HeadRenewal
  readonly retention: RetentionOptions
  readonly metricsToken: string | undefined
  readonly isDraining: () => boolean
  /** Tells who makes a request; for routes that anybody may call, and that show more to some. */
  readonly authenticate: (request: FastifyRequest) => Promise<Actor>
}

const channelParams = objectSchema({ p: SCHEMAS.slug, c: SCHEMAS.slug })
const reason = { type: 'string', maxLength: 500 }

/** Routes of rollout, garbage collection, events, reports, statistics, health and metrics. */
export function operationRoutes(app: FastifyInstance, context: ServerContext, parts: OperationParts): void {
  rolloutRoutes(app, context, parts)
  renewRoute(app, context, parts)
  healthRoutes(app, context, parts)

  app.post<{ Body: { dry_run: boolean } }>(
    '/v1/gc',
    {
      config: { scope: 'admin', summary: 'Collect garbage; a dry run reports what would be deleted' },
      schema: { body: objectSchema({ dry_run: { type: 'boolean' } }) },
    },
    async (request, reply) =>
      sendJson(
        reply,
        200,
        await collectGarbage(context, { dryRun: request.body.dry_run, retention: parts.retention }, callerOf(request)),
      ),
  )

  app.get(
    '/v1/events',
    { config: { scope: 'releases:read', summary: 'What happens, as server-sent events' } },
    (request, reply) => parts.events.serve(request, reply),
  )

  reportRoutes(app, parts)
}

/** What launchers report, and what became of it. */
function reportRoutes(app: FastifyInstance, parts: OperationParts): void {
  app.post<{ Body: JsonValue }>(
    '/v1/reports',
    {
      bodyLimit: MAX_REPORT_BYTES,
      config: {
        rate: 'reports',
        summary: 'Telemetry of a launcher; counted, no address and no id is kept',
        answers: { 202: 'Counted' },
      },
    },
    async (request, reply) => {
      const { body } = request
      // A step of an update, or what launchers of before send after one.
      if (isRecord(body) && body['step'] !== undefined) await parts.funnel.add(body, parts.addressOf(request))
      else await parts.reports.add(body)
      return sendJson(reply, 202, {})
    },
  )

  app.get<{ Params: { p: string }; Querystring: { since?: string } }>(
    '/v1/products/:p/stats',
    {
      config: {
        scope: 'stats:read',
        summary: 'Counts by day and version: reports of launchers that report, and reads of heads and manifests',
      },
      schema: {
        params: objectSchema({ p: SCHEMAS.slug }),
        querystring: objectSchema({ since: { type: 'string', pattern: '^\\d{4}-\\d{2}-\\d{2}$' } }, ['since']),
      },
    },
    async (request, reply) => {
      const { p } = request.params
      const { since = '' } = request.query
      const sees = (channel: string): boolean => maySee(actorOf(request), p, channel)
      return sendJson(reply, 200, {
        items: await parts.reports.list(p, since, sees),
        downloads: await parts.downloads.list(p, since, sees),
        cursor: null,
      })
    },
  )
}

function placeOf(request: { readonly params: { p: string; c: string } }): { product: string; channel: string } {
  return { product: request.params.p, channel: request.params.c }
}

function rolloutRoutes(app: FastifyInstance, context: ServerContext, parts: OperationParts): void {
  app.post<{ Params: { p: string; c: string }; Body: { reason: string } }>(
    '/v1/products/:p/channels/:c(^[a-z0-9-]+)::halt',
    {
      config: {
        scope: 'rollout:write',
        summary: 'Halt a rollout; waits for a head of the publisher unless a head signer is connected',
      },
      schema: { params: channelParams, body: objectSchema({ reason }) },
    },
    async (request, reply) => {
      const view = await requestHead(
        context,
        parts.headSigner,
        { ...placeOf(request), action: 'halt', percent: null, reason: request.body.reason },
        callerOf(request),
      )
      return sendJson(reply, view.wanted === null ? 200 : 202, view)
    },
  )

  app.patch<{ Params: { p: string; c: string }; Body: { percent?: number; paused?: boolean; reason?: string } }>(
    '/v1/products/:p/channels/:c/rollout',
    {
      config: { scope: 'rollout:write', summary: 'Move or resume a rollout; waits as a halt does' },
      schema: {
        params: channelParams,
        body: objectSchema(
          { percent: { type: 'integer', minimum: 0, maximum: 100 }, paused: { type: 'boolean' }, reason },
          ['percent', 'paused', 'reason'],
        ),
      },
    },
    async (request, reply) => {
      const { percent, paused, reason: why = '' } = request.body
      if (percent === undefined && paused === undefined)
        throw new ServerError('SRV_REQUEST', 'Expected percent or paused')
      const action = paused === true ? 'halt' : paused === false ? 'resume' : 'rollout'
      const view = await requestHead(
        context,
        parts.headSigner,
        { ...placeOf(request), action, percent: percent ?? null, reason: why },
        callerOf(request),
      )
      return sendJson(reply, view.wanted === null ? 200 : 202, view)
    },
  )
}

function renewRoute(app: FastifyInstance, context: ServerContext, { headSigner }: OperationParts): void {
  app.post<{ Params: { p: string; c: string } }>(
    '/v1/products/:p/channels/:c(^[a-z0-9-]+)::renew',
    {
      config: {
        scope: 'rollout:write',
        summary: 'Repeat what a channel offers with a new date; needs a head signer',
        answers: { 202: 'Somebody at the head signer has to confirm it' },
      },
      schema: { params: channelParams },
    },
    async (request, reply) => {
      if (headSigner === undefined || (await headSigner.connected?.()) === false)
        throw new ServerError('SRV_HEAD_NEEDED', 'Cannot renew the head: no head signer is connected', {
          hint: `Run "keyturn release renew --channel ${request.params.c}" where the head key is`,
        })
      const view = await renewHead(context, headSigner, placeOf(request), callerOf(request))
      return sendJson(reply, view === undefined ? 202 : 200, view ?? {})
    },
  )
}

/** What a caller may see by name. */
type Sight = NonNullable<ReadinessOptions['maySee']>

function healthRoutes(app: FastifyInstance, context: ServerContext, parts: OperationParts): void {
  const quiet = { rate: 'none' } as const
  for (const path of ['/healthz', '/startupz']) {
    app.get(path, { config: { ...quiet, summary: 'The process runs' } }, async (_request, reply) =>
      sendJson(reply, 200, { status: 'pass', checks: [] }),
    )
  }
  app.get(
    '/readyz',
    { config: { ...quiet, summary: 'The server can do its work; warns before documents expire' } },
    async (request, reply) => {
      const sight = await sightOf(request)
      const report = await (sight === undefined ? asProbe() : readinessFor(sight))
      return sendJson(reply, report.status === 'fail' ? 503 : 200, report)
    },
  )
  const readinessFor = (sight: Sight | undefined): Promise<HealthReport> =>
    readiness(context, {
      draining: parts.isDraining(),
      renewal: parts.renewal,
      maySee: sight,
      more: () => watchedLogChecks(context.metadata, { named: sight !== undefined, nowMs: context.clock() }),
    })
  let running: Promise<HealthReport> | undefined
  /** Nothing counts probes, and each look asks the stores: all that ask at a time share one. */
  const asProbe = (): Promise<HealthReport> =>
    (running ??= readinessFor(undefined).finally(() => {
      running = undefined
    }))
  /** What a caller with a token may see by name; a probe has none. */
  const sightOf = async (request: FastifyRequest): Promise<Sight | undefined> => {
    const { authorization, cookie } = request.headers
    if (authorization === undefined && cookie === undefined) return undefined
    const actor = await parts.authenticate(request).catch((error: unknown) => {
      if (authorization !== undefined) throw error
      return undefined // a browser whose session is over asks as a probe does
    })
    return actor !== undefined && hasScope(actor, 'releases:read')
      ? (product, channel) => maySee(actor, product, channel)
      : undefined
  }
  app.get('/metrics', { config: { ...quiet, summary: 'Figures for Prometheus' } }, async (request, reply) => {
    const { authorization } = request.headers
    const byOwnToken = parts.metricsToken !== undefined && sameText(authorization ?? '', `Bearer ${parts.metricsToken}`)
    if (!byOwnToken && !hasScope(await parts.authenticate(request), 'stats:read'))
      throw new ServerError('SRV_SCOPE', 'The token does not have the scope stats:read')
    return reply.header('cache-control', 'no-store').type('text/plain; version=0.0.4').send(parts.metrics.text())
  })
}

/** Compares in a time that reveals nothing about the texts. */
function sameText(one: string, other: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(one), digest(other))
}

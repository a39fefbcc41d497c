import { createHash } from 'node:crypto'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'

/** How long an answer is remembered. */
export const idempotencyMs = 24 * 60 * 60_000
const collection = 'idempotency'
const mostBytes = 1024 * 1024

interface StoredAnswer {
  readonly fingerprint: string
  readonly status: number
  readonly body: string
  readonly made_ms: number
}

function keyOf(request: FastifyRequest): string | undefined {
  const header = request.headers['idempotency-key']
  const { scope, idempotent = true } = request.routeOptions.config
  if (request.method !== 'POST' || scope === undefined || !idempotent || header === undefined) return undefined
  if (typeof header !== 'string' || !/^[\x21-\x7e]{1,128}$/.test(header))
    throw new ServerError('SRV_REQUEST', 'Cannot read header Idempotency-Key: 1 to 128 printable characters are due')
  return createHash('sha256')
    .update(`${request.actor?.name ?? ''} ${header}`)
    .digest('hex')
}

function fingerprintOf(request: FastifyRequest): string {
  return createHash('sha256')
    .update(`${request.url} ${JSON.stringify(request.body ?? null)}`)
    .digest('hex')
}

/**
 * A change that is sent twice with one `Idempotency-Key` is made once: the second time gets the first answer. Only
 * success is remembered; what failed may be tried again.
 */
export function honourIdempotencyKeys(app: FastifyInstance, context: ServerContext): void {
  app.addHook('preHandler', async (request, reply) => {
    const key = keyOf(request)
    if (key === undefined) return
    const found = (await context.metadata.get(collection, key))?.value as unknown as StoredAnswer | undefined
    if (found === undefined || context.clock() - found.made_ms > idempotencyMs) return
    if (found.fingerprint !== fingerprintOf(request))
      throw new ServerError('SRV_IDEMPOTENCY', 'This Idempotency-Key was used with another request')
    await reply
      .code(found.status)
      .header('idempotent-replayed', 'true')
      .header('cache-control', 'no-store')
      .type('application/json')
      .send(found.body)
  })
  app.addHook('onSend', async (request: FastifyRequest, reply: FastifyReply, payload: unknown) => {
    const key = keyOf(request)
    const fresh =
      reply.statusCode >= 200 && reply.statusCode < 300 && reply.getHeader('idempotent-replayed') === undefined
    if (key === undefined || !fresh || typeof payload !== 'string' || payload.length > mostBytes) return
    const answer: StoredAnswer = {
      fingerprint: fingerprintOf(request),
      status: reply.statusCode,
      body: payload,
      made_ms: context.clock(),
    }
    await context.metadata.transaction([], async (records) => {
      await records.put(collection, { key, value: { ...answer } })
    })
  })
}

/** Forgets answers that are older than a day. */
export async function sweepAnswers(context: ServerContext): Promise<void> {
  const records = await context.metadata.list(collection, { limit: 10_000 })
  const old = records
    .filter(({ value }) => context.clock() - (value as unknown as StoredAnswer).made_ms > idempotencyMs)
    .map(({ key }) => key)
  if (old.length > 0) await context.metadata.transaction([], (writer) => writer.delete(collection, ...old))
}

import { createHash } from 'node:crypto'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import { collection } from '../storage/collection.ts'
import { numeric, object, text, whole } from '../storage/shape.ts'

/** How long an answer is remembered. */
export const IDEMPOTENCY_MS = 24 * 60 * 60_000
const MAX_BODY_LENGTH = 1024 * 1024

interface StoredAnswer {
  readonly fingerprint: string
  readonly status: number
  readonly body: string
  readonly made_ms: number
}

const answers = collection(
  'idempotency',
  object<StoredAnswer>({ fingerprint: text, status: whole, body: text, made_ms: numeric }),
)

function keyOf(request: FastifyRequest): string | undefined {
  const header = request.headers['idempotency-key']
  const { scope, idempotent = true } = request.routeOptions.config
  if (request.method !== 'POST' || scope === undefined || !idempotent || header === undefined) return undefined
  if (typeof header !== 'string' || !/^[\x21-\x7e]{1,128}$/.test(header))
    throw new ServerError('SRV_REQUEST', 'Cannot read header Idempotency-Key: expected 1 to 128 printable characters')
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
 * A change that is sent twice with one `Idempotency-Key` is made once: the second request gets the first answer. Only
 * success is remembered; what failed may be tried again.
 */
export function honorIdempotencyKeys(app: FastifyInstance, context: ServerContext): void {
  app.addHook('preHandler', async (request, reply) => {
    const key = keyOf(request)
    if (key === undefined) return
    const found = await answers.get(context.metadata, key)
    if (found === undefined || context.clock() - found.made_ms > IDEMPOTENCY_MS) return
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
    if (key === undefined || !fresh || typeof payload !== 'string' || payload.length > MAX_BODY_LENGTH) return
    const value: StoredAnswer = {
      fingerprint: fingerprintOf(request),
      status: reply.statusCode,
      body: payload,
      made_ms: context.clock(),
    }
    await context.metadata.transaction([], (records) => answers.put(records, { key, value }))
  })
}

/** Forgets answers that are older than a day. */
export async function sweepAnswers(context: ServerContext): Promise<void> {
  const now = context.clock()
  for await (const page of answers.pages(context.metadata, { limit: 100 })) {
    const old = page.filter(({ value }) => now - value.made_ms > IDEMPOTENCY_MS).map(({ key }) => key)
    if (old.length > 0) await context.metadata.transaction([], (writer) => answers.delete(writer, ...old))
  }
}

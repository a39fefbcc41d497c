import { documentBody } from '../http/body-stream.ts'
import type { FastifyInstance } from 'fastify'
import { ServerError } from '../errors.ts'
import { MAX_WITNESSED_LOG_BYTES } from '../limits.ts'
import { objectSchema, QUERY_NUMBER, sendJson } from '../http/route.ts'
import type { Witness } from './witness.ts'

/** Routes of the witness: its prefix, and receipts for a log. */
export function witnessRoutes(app: FastifyInstance, witness: Witness): void {
  app.get(
    '/witness',
    { config: { rate: 'public', summary: 'Prefix of the witness on this server' } },
    async (_request, reply) => sendJson(reply, 200, { prefix: await witness.prefix() }),
  )

  app.post(
    '/witness/receipts',
    {
      bodyLimit: MAX_WITNESSED_LOG_BYTES,
      config: {
        rate: 'witness',
        bytesPerRequest: 64 * 1024,
        summary: 'Receipts for the events of a key event log',
        bodyType: 'application/cesr',
        idempotent: false,
      },
    },
    async (request, reply) => {
      const receipts = await witness.receipts(await documentBody(request, MAX_WITNESSED_LOG_BYTES))
      if (receipts === undefined) return reply.code(202).send()
      return reply.header('cache-control', 'no-store').type('application/cesr').send(Buffer.from(receipts))
    },
  )

  app.get<{ Querystring: { pre: string; sn: string } }>(
    '/witness/receipts',
    {
      config: { rate: 'public', summary: 'The receipt that was given at a place of a log' },
      schema: {
        querystring: objectSchema({ pre: { type: 'string', pattern: '^[A-Za-z0-9_-]{44}$' }, sn: QUERY_NUMBER }),
      },
    },
    async (request, reply) => {
      const { pre, sn } = request.query
      const receipt = await witness.find(pre, Number(sn))
      if (receipt === undefined)
        throw new ServerError('SRV_NOT_FOUND', `No receipt was given for event ${sn} of ${pre}`)
      return reply.header('cache-control', 'no-store').type('application/cesr').send(Buffer.from(receipt))
    },
  )
}

import type { FastifyInstance } from 'fastify'
import { maxLogBytes } from '../limits.ts'
import { documentBody } from '../management/product-routes.ts'
import { sendJson } from '../management/routes.ts'
import type { Witness } from './witness.ts'

/** Routes of the witness: its prefix, and receipts for a log. */
export function witnessRoutes(app: FastifyInstance, witness: Witness): void {
  app.get('/witness', { config: { rate: 'public', summary: 'Prefix of the witness on this server' } }, async (_request, reply) =>
    sendJson(reply, 200, { prefix: await witness.prefix() }))

  app.post('/witness/receipts', {
    config: { rate: 'reports', summary: 'Receipts for the events of a key event log', bodyType: 'application/cesr', idempotent: false },
  }, async (request, reply) => {
    const receipts = await witness.receipts(await documentBody(request, maxLogBytes))
    return reply.header('cache-control', 'no-store').type('application/cesr').send(Buffer.from(receipts))
  })
}

import type { FastifyInstance } from 'fastify'
import {
  formatSignatureLine,
  formatVerifierKey,
  MAX_REQUEST_BYTES,
  originHash,
  TlogError,
  WitnessConflict,
} from '@keyturn/tlog'
import type { LogWitness, TlogErrorCode } from '@keyturn/tlog'
import type { ReleaseLogView } from '@keyturn/release-client'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import { documentBody } from '../http/body-stream.ts'
import { objectSchema, SCHEMAS, sendJson } from '../http/route.ts'
import { logStates, unproved } from './log-store.ts'

/** Statuses of c2sp.org/tlog-witness. */
const STATUSES: Partial<Record<TlogErrorCode, number>> = {
  TLOG_SIGNATURE: 403,
  TLOG_UNKNOWN_LOG: 404,
  TLOG_CONFLICT: 409,
  TLOG_CONSISTENCY: 422,
}

/** How long the log of a product is, who has signed it, and what is wrong with it. */
export function releaseLogRoutes(app: FastifyInstance, { metadata }: ServerContext): void {
  app.get<{ Params: { p: string } }>(
    '/v1/products/:p/release-log',
    {
      config: { scope: 'releases:read', summary: 'The log of releases of a product, and who has signed it' },
      schema: { params: objectSchema({ p: SCHEMAS.slug }) },
    },
    async (request, reply) => {
      const { p } = request.params
      const state = await logStates.get(metadata, p)
      if (state === undefined) throw new ServerError('SRV_NOT_FOUND', 'This server keeps no log of the product')
      const waiting = await unproved.all(metadata, { prefix: `${p}/` })
      const view: ReleaseLogView = {
        size: state.size,
        key: state.vkey,
        problem: state.problem,
        witnesses: Object.entries(state.witnessed).map(([name, size]) => ({ name, size })),
        unproved: waiting.map(({ key }) => key.slice(p.length + 1)),
      }
      return sendJson(reply, 200, view)
    },
  )
}

/** The witness that this server is for the logs of others: c2sp.org/tlog-witness. */
export function logWitnessRoutes(app: FastifyInstance, witness: LogWitness): void {
  app.get(
    '/log-witness',
    { config: { rate: 'public', summary: 'Key of the witness of logs on this server' } },
    async (_request, reply) => reply.type('text/plain; charset=utf-8').send(`${formatVerifierKey(witness.key)}\n`),
  )

  // Clients of the specification name any media type, or none.
  void app.register((inner, _options, done) => {
    inner.removeAllContentTypeParsers()
    inner.addContentTypeParser('*', (_request, payload, parsed) => parsed(null, payload))
    addCheckpointRoute(inner, witness)
    done()
  })

  app.get<{ Params: { hash: string } }>(
    '/log-witness/:hash/checkpoint',
    {
      config: { rate: 'public', summary: 'The last checkpoint of a log that the witness has signed' },
      schema: { params: objectSchema({ hash: SCHEMAS.sha256 }) },
    },
    async (request, reply) => {
      const origin = witness.logs.find((log) => originHash(log.origin) === request.params.hash)?.origin
      const note = origin === undefined ? undefined : await witness.latest(origin)
      if (note === undefined)
        throw new ServerError('SRV_NOT_FOUND', 'This witness has signed no checkpoint of that log')
      return reply.header('cache-control', 'no-store').type('text/plain; charset=utf-8').send(Buffer.from(note))
    },
  )
}

function addCheckpointRoute(app: FastifyInstance, witness: LogWitness): void {
  app.post(
    '/log-witness/add-checkpoint',
    {
      bodyLimit: MAX_REQUEST_BYTES,
      config: {
        rate: 'cosign',
        summary: 'Ask the witness to sign a checkpoint',
        bodyType: 'text/plain',
        idempotent: false,
      },
    },
    async (request, reply) => {
      const body = await documentBody(request, MAX_REQUEST_BYTES)
      reply.header('cache-control', 'no-store')
      try {
        return reply.type('text/plain; charset=utf-8').send(formatSignatureLine(await witness.add(body)))
      } catch (error) {
        if (!(error instanceof TlogError)) throw error
        if (error instanceof WitnessConflict) return reply.code(409).type('text/x.tlog.size').send(`${error.size}\n`)
        return reply
          .code(STATUSES[error.code] ?? 400)
          .type('text/plain; charset=utf-8')
          .send(`${error.message}\n`)
      }
    },
  )
}

import { documentBody } from '../http/body-stream.ts'
import { timestamp } from '../time.ts'
import { base64Decode, hexEncode } from '@keyturn/primitives'
import type { FastifyInstance } from 'fastify'
import type { DeviceView } from '@keyturn/release-client'
import { appendAudit, auditLock } from '../audit/audit.ts'
import type { ServerContext } from '../context.ts'
import { maxLogBytes } from '../limits.ts'
import { objectSchema, schemas, sendJson, callerOf } from '../http/route.ts'
import { readProduct } from '../releases/products.ts'
import type { RecordReader } from '../storage/metadata-store.ts'
import {
  attestDevice,
  isAttested,
  listAttested,
  listAttesters,
  maxWordBytes,
  putAttester,
  removeAttester,
} from './attestations.ts'

/** A word in base64. */
const maxWord = Math.ceil(maxWordBytes / 3) * 4
/** Largest log that is read from a caller without a token, in base64; longer ones are brought with `PUT …/attesters`. */
const maxAttestedLog = 400_000

function text(maxLength: number): object {
  return { ...schemas.base64, maxLength }
}

interface StoredDevice {
  readonly note: string
  readonly added_at?: string
  readonly struck_at?: string
}

/**
 * Whether a device may have the runtime keys of a product: the operator listed its key, or an identity that the
 * operator listed attests it; what the operator struck off is off whoever attests it. Read afresh each time.
 */
export async function isDeviceAllowed(records: RecordReader, product: string, staticKey: Uint8Array): Promise<boolean> {
  const key = hexEncode(staticKey)
  const listed = (await records.get('devices', `${product}/${key}`))?.value as unknown as StoredDevice | undefined
  if (listed !== undefined) return listed.struck_at === undefined
  return isAttested(records, product, key)
}

/** Routes of devices that may have runtime keys, and of the identities that may attest such devices. */
export function deviceRoutes(app: FastifyInstance, context: ServerContext): void {
  const scope = 'devices:write'
  const product = objectSchema({ p: schemas.slug })
  const params = objectSchema({ p: schemas.slug, key: schemas.sha256 })

  app.get<{ Params: { p: string } }>(
    '/v1/products/:p/devices',
    {
      config: { scope, summary: 'Devices that may, or may no longer, have runtime keys' },
      schema: { params: product },
    },
    async (request, reply) =>
      sendJson(reply, 200, { items: await listDevices(context.metadata, request.params.p), cursor: null }),
  )

  app.put<{ Params: { p: string; key: string }; Body: { note: string } }>(
    '/v1/products/:p/devices/:key',
    {
      config: { scope, summary: 'Let a device have runtime keys, by its X25519 public key' },
      schema: { params, body: objectSchema({ note: { type: 'string', maxLength: 120 } }) },
    },
    async (request, reply) => {
      await setDevice(
        request.params,
        { note: request.body.note, added_at: timestamp(context.clock()) },
        'device.add',
        callerOf(request),
      )
      return reply.code(204).send()
    },
  )

  app.delete<{ Params: { p: string; key: string } }>(
    '/v1/products/:p/devices/:key',
    { config: { scope, summary: 'Strike a device off, at once, whoever attests it' }, schema: { params } },
    async (request, reply) => {
      await setDevice(
        request.params,
        { note: '', struck_at: timestamp(context.clock()) },
        'device.strike',
        callerOf(request),
      )
      return reply.code(204).send()
    },
  )

  attestationRoutes(app, context)

  async function setDevice(
    { p, key }: { p: string; key: string },
    value: StoredDevice,
    action: string,
    caller: ReturnType<typeof callerOf>,
  ): Promise<void> {
    await context.metadata.transaction([auditLock], async (records) => {
      await readProduct(records, p)
      await records.put('devices', { key: `${p}/${key}`, value: { ...value } })
      await appendAudit(records, context.clock(), { ...caller, action, target: `${p}/${key}` })
    })
  }
}

async function listDevices(records: RecordReader, product: string): Promise<DeviceView[]> {
  await readProduct(records, product)
  const listed = (await records.list('devices', { prefix: `${product}/`, limit: 100_000 })).map(
    ({ key, value }): DeviceView => {
      const { note, struck_at: struck } = value as unknown as StoredDevice
      return {
        key: key.slice(product.length + 1),
        by: 'operator',
        name: note,
        status: struck === undefined ? 'listed' : 'struck',
      }
    },
  )
  return [...listed, ...(await listAttested(records, product))]
}

function attestationRoutes(app: FastifyInstance, context: ServerContext): void {
  const scope = 'devices:write'
  const params = objectSchema({ p: schemas.slug, prefix: { type: 'string', pattern: '^[A-Za-z0-9_-]{44}$' } })

  app.get<{ Params: { p: string } }>(
    '/v1/products/:p/attesters',
    {
      config: { scope, summary: 'Identities whose word on devices counts' },
      schema: { params: objectSchema({ p: schemas.slug }) },
    },
    async (request, reply) =>
      sendJson(reply, 200, { items: await listAttesters(context.metadata, request.params.p), cursor: null }),
  )

  app.put<{ Params: { p: string; prefix: string }; Querystring: { note?: string } }>(
    '/v1/products/:p/attesters/:prefix',
    {
      config: {
        scope,
        summary: 'Let an identity attest devices, by its key event log; never a release identity',
        bodyType: 'application/cesr',
      },
      schema: { params, querystring: objectSchema({ note: { type: 'string', maxLength: 120 } }, ['note']) },
    },
    async (request, reply) => {
      const { p, prefix } = request.params
      return sendJson(
        reply,
        200,
        await putAttester(
          context,
          p,
          prefix,
          await documentBody(request, maxLogBytes),
          request.query.note ?? '',
          callerOf(request),
        ),
      )
    },
  )

  app.delete<{ Params: { p: string; prefix: string } }>(
    '/v1/products/:p/attesters/:prefix',
    { config: { scope, summary: 'Strike an identity off; its devices are off at once' }, schema: { params } },
    async (request, reply) => {
      await removeAttester(context, request.params.p, request.params.prefix, callerOf(request))
      return reply.code(204).send()
    },
  )

  app.post<{ Params: { p: string }; Body: { prefix: string; document: string; statement: string; log?: string } }>(
    '/v1/products/:p/devices::attest',
    {
      config: {
        rate: 'reports',
        summary: 'Bring the signed word of a listed identity on a device; no token, it proves itself',
        idempotent: false,
      },
      schema: {
        params: objectSchema({ p: schemas.slug }),
        body: objectSchema(
          {
            prefix: { type: 'string', pattern: '^[A-Za-z0-9_-]{44}$' },
            document: text(maxWord),
            statement: text(maxWord),
            log: text(maxAttestedLog),
          },
          ['log'],
        ),
      },
    },
    async (request, reply) => {
      const { prefix, document, statement, log } = request.body
      const given = {
        prefix,
        document: base64Decode(document),
        statement: base64Decode(statement),
        log: log === undefined ? undefined : base64Decode(log),
      }
      return sendJson(
        reply,
        200,
        await attestDevice(context, request.params.p, given, { actor: `identity:${prefix}`, requestId: request.id }),
      )
    },
  )
}

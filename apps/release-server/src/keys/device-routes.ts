import { documentBody } from '../http/body-stream.ts'
import { timestamp } from '../time.ts'
import { base64Decode, hexEncode } from '@keyturn/primitives'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { DeviceView } from '@keyturn/release-client'
import { appendAudit, AUDIT_LOCK } from '../audit/audit.ts'
import type { ServerContext } from '../context.ts'
import { MAX_LOG_BYTES } from '../limits.ts'
import { objectSchema, SCHEMAS, sendJson, callerOf } from '../http/route.ts'
import { readProduct } from '../releases/products.ts'
import { collection } from '../storage/collection.ts'
import type { RecordReader } from '../storage/metadata-store.ts'
import { object, optional, text as textShape } from '../storage/shape.ts'
import {
  attestDevice,
  isAttested,
  listAttested,
  listAttesters,
  MAX_STATEMENT_BYTES,
  putAttester,
  removeAttester,
  requireAttester,
} from './attestations.ts'

/** A statement in base64. */
const MAX_STATEMENT = Math.ceil(MAX_STATEMENT_BYTES / 3) * 4
/** Largest log that is read from a caller without a token, in base64; longer ones are sent with `PUT …/attesters`. */
const MAX_ATTESTED_LOG = 400_000

function text(maxLength: number): object {
  return { ...SCHEMAS.base64, maxLength }
}

/** What the operator decided about a device. */
interface StoredDevice {
  readonly note: string
  readonly added_at?: string | undefined
  readonly struck_at?: string | undefined
}

/** Decisions of the operator by `<product>/<key>`. */
const devices = collection(
  'devices',
  object<StoredDevice>({ note: textShape, added_at: optional(textShape), struck_at: optional(textShape) }),
)

/**
 * Whether a device may have the runtime keys of a product: the operator listed its key, or an identity that the
 * operator listed attests it; what the operator removed stays removed, regardless of who attests it. Read again each time.
 */
export async function isDeviceAllowed(records: RecordReader, product: string, staticKey: Uint8Array): Promise<boolean> {
  const key = hexEncode(staticKey)
  const listed = await devices.get(records, `${product}/${key}`)
  if (listed !== undefined) return listed.struck_at === undefined
  return isAttested(records, product, key)
}

/** Routes of devices that may have runtime keys, and of the identities that may attest such devices. */
export function deviceRoutes(app: FastifyInstance, context: ServerContext): void {
  const scope = 'devices:write'
  const product = objectSchema({ p: SCHEMAS.slug })
  const params = objectSchema({ p: SCHEMAS.slug, key: SCHEMAS.sha256 })

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
      await setDevice(context, request, {
        action: 'device.add',
        value: { note: request.body.note, added_at: timestamp(context.clock()) },
      })
      return reply.code(204).send()
    },
  )

  app.delete<{ Params: { p: string; key: string } }>(
    '/v1/products/:p/devices/:key',
    { config: { scope, summary: 'Remove a device at once, regardless of who attests it' }, schema: { params } },
    async (request, reply) => {
      await setDevice(context, request, {
        action: 'device.strike',
        value: { note: '', struck_at: timestamp(context.clock()) },
      })
      return reply.code(204).send()
    },
  )

  attestationRoutes(app, context)
}

async function setDevice(
  context: ServerContext,
  request: FastifyRequest<{ Params: { p: string; key: string } }>,
  { action, value }: { readonly action: string; readonly value: StoredDevice },
): Promise<void> {
  const { p, key } = request.params
  await context.metadata.transaction([AUDIT_LOCK], async (records) => {
    await readProduct(records, p)
    await devices.put(records, { key: `${p}/${key}`, value })
    await appendAudit(records, context.clock(), { ...callerOf(request), action, target: `${p}/${key}` })
  })
}

async function listDevices(records: RecordReader, product: string): Promise<DeviceView[]> {
  await readProduct(records, product)
  const listed = (await devices.all(records, { prefix: `${product}/` })).map(({ key, value }): DeviceView => {
    const { note, struck_at: struck } = value
    return {
      key: key.slice(product.length + 1),
      by: 'operator',
      name: note,
      status: struck === undefined ? 'listed' : 'struck',
    }
  })
  return [...listed, ...(await listAttested(records, product))]
}

function attestationRoutes(app: FastifyInstance, context: ServerContext): void {
  attesterRoutes(app, context)
  attestRoute(app, context)
}

function attesterRoutes(app: FastifyInstance, context: ServerContext): void {
  const scope = 'devices:write'
  const params = objectSchema({ p: SCHEMAS.slug, prefix: { type: 'string', pattern: '^[A-Za-z0-9_-]{44}$' } })

  app.get<{ Params: { p: string } }>(
    '/v1/products/:p/attesters',
    {
      config: { scope, summary: 'Identities whose statements about devices count' },
      schema: { params: objectSchema({ p: SCHEMAS.slug }) },
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
          {
            product: p,
            prefix,
            log: await documentBody(request, MAX_LOG_BYTES),
            note: request.query.note ?? '',
          },
          callerOf(request),
        ),
      )
    },
  )

  app.delete<{ Params: { p: string; prefix: string } }>(
    '/v1/products/:p/attesters/:prefix',
    { config: { scope, summary: 'Remove an identity; its devices are removed at once' }, schema: { params } },
    async (request, reply) => {
      await removeAttester(context, request.params.p, request.params.prefix, callerOf(request))
      return reply.code(204).send()
    },
  )
}

function attestRoute(app: FastifyInstance, context: ServerContext): void {
  app.post<{ Params: { p: string }; Body: { prefix: string; document: string; statement: string; log?: string } }>(
    '/v1/products/:p/devices::attest',
    {
      bodyLimit: 2 * MAX_STATEMENT + MAX_ATTESTED_LOG + 1024,
      config: {
        rate: 'attest',
        bytesPerRequest: 64 * 1024,
        summary: 'Send the signed statement of a listed identity about a device; no token, it proves itself',
        idempotent: false,
      },
      schema: {
        params: objectSchema({ p: SCHEMAS.slug }),
        body: objectSchema(
          {
            prefix: { type: 'string', pattern: '^[A-Za-z0-9_-]{44}$' },
            document: text(MAX_STATEMENT),
            statement: text(MAX_STATEMENT),
            log: text(MAX_ATTESTED_LOG),
          },
          ['log'],
        ),
      },
    },
    async (request, reply) => {
      const { prefix, document, statement, log } = request.body
      // Before a log of hundreds of kilobytes is decoded for nobody.
      await requireAttester(context.metadata, request.params.p, prefix)
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

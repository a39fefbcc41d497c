import { documentBody } from '../http/body-stream.ts'
import { parseIdentityName, parseKeyRecord, verifyKeyList, verifyKeyRecord } from '@keyturn/noise-keys'
import { createRelayHandler } from '@keyturn/noise-keys/pkarr'
import { parseRuntimeKeyBlob } from '@keyturn/runtime-key'
import { utf8Decode, wipe } from '@keyturn/primitives'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { appendAudit, AUDIT_LOCK } from '../audit/audit.ts'
import type { Caller } from '../access/caller.ts'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import { objectSchema, SCHEMAS, sendJson, callerOf } from '../http/route.ts'
import { PROBLEM_TYPE_BASE } from '../problem.ts'
import { readProduct } from '../releases/products.ts'
import { answerExchange, refuseEarlyKey, runtimeKeyCell } from './exchange.ts'
import type { ExchangeParts } from './exchange.ts'
import { keyFiles, packetStore } from './key-files.ts'
import { refuseTooManyPackets } from './packet-limit.ts'
import { KEY_LIST_PATH_OF, RECORD_PATH } from './key-paths.ts'

const IDENTITY_NAME = { type: 'string', pattern: '^[ybndrfg8ejkmcpqxot1uwisza345h769]{52}$' }
const DEVICE_NAME = { type: 'string', pattern: '^[A-Za-z0-9._~-]{1,64}$' }
const KEY_NUMBER = { type: 'string', pattern: '^[1-9][0-9]{0,9}$' }
/** Largest packet of the pkarr relay with its signature. */
const MAX_PACKET_BYTES = 2048
const MAX_KEY_FILE_BYTES = 64 * 1024

async function note(context: ServerContext, caller: Caller, action: string, target: string): Promise<void> {
  await context.metadata.transaction([AUDIT_LOCK], async (records) => {
    await appendAudit(records, context.clock(), { ...caller, action, target })
  })
}

/** Routes of public key files and of the pkarr relay: open to read; what is written is proven by its signature. */
export function keyFileRoutes(app: FastifyInstance, context: ServerContext): void {
  relayRoutes(app, context)
  for (const [path, isList] of [
    [`${RECORD_PATH}:device`, false],
    [KEY_LIST_PATH_OF, true],
  ] as const) {
    const params = objectSchema({ z32: IDENTITY_NAME, ...(isList ? {} : { device: DEVICE_NAME }) })
    const keyOf = ({ z32, device = '' }: { z32: string; device?: string }): string =>
      `${z32}${isList ? path : `${RECORD_PATH}${device}`}`
    app.route<{ Params: { z32: string; device?: string } }>({
      method: ['GET', 'HEAD'],
      url: `/pubky/:z32${path}`,
      config: { rate: 'public', summary: isList ? 'Key list of a transport identity' : 'Key record of a device' },
      schema: { params },
      handler: async (request, reply) => {
        const found = await keyFiles.body(context.metadata, keyOf(request.params))
        if (found === undefined) throw new ServerError('SRV_NOT_FOUND', 'Nothing is published here')
        return reply
          .header('cache-control', 'public, max-age=15, must-revalidate')
          .header('access-control-allow-origin', '*')
          .type('application/octet-stream')
          .send(Buffer.from(found))
      },
    })
    app.put<{ Params: { z32: string; device?: string } }>(
      `/pubky/:z32${path}`,
      {
        config: {
          scope: 'keys:write',
          summary: 'Publish a signed key record or list',
          bodyType: 'application/octet-stream',
        },
        schema: { params },
      },
      async (request, reply) => {
        const bytes = await documentBody(request, MAX_KEY_FILE_BYTES)
        await putKeyFile(context, { ...request.params, key: keyOf(request.params), bytes, isList }, callerOf(request))
        return reply.code(204).send()
      },
    )
  }
}

/** A key record or key list, as it was sent. */
interface KeyFile {
  readonly z32: string
  readonly device?: string
  readonly key: string
  readonly bytes: Uint8Array
  readonly isList: boolean
}

/** Accepts only what its identity signed, and nothing older than what is stored. */
async function putKeyFile(
  context: ServerContext,
  { z32, device = '', key, bytes, isList }: KeyFile,
  caller: Caller,
): Promise<void> {
  const { publicKey } = parseIdentityName(z32)
  const sequenceOf = (file: Uint8Array): number => {
    if (isList) return verifyKeyList(publicKey, file).list.seq
    const record = parseKeyRecord(utf8Decode(file))
    verifyKeyRecord(record, { identity: publicKey, deviceId: device })
    return record.format === 'stateful' ? record.sequence : 0
  }
  const sequence = sequenceOf(bytes)
  await context.metadata.transaction([AUDIT_LOCK, `noise:${z32}`], async (records) => {
    const before = await keyFiles.find(records, key)
    const old = before?.body
    if (old !== undefined && sequenceOf(old) > sequence)
      throw new ServerError('SRV_CONFLICT', 'A more recent file is published here')
    const firstMs = before?.value.first_ms ?? context.clock()
    await keyFiles.put(records, { key, value: { sequence, first_ms: firstMs }, body: bytes })
    await appendAudit(records, context.clock(), {
      ...caller,
      action: 'noise.publish',
      target: key,
      facts: { sequence },
    })
    await records.notify('noise', z32)
  })
}

function relayRoutes(app: FastifyInstance, context: ServerContext): void {
  const store = packetStore(context.metadata)
  const relay = createRelayHandler({ store, clock: context.clock })
  const answer = async (request: FastifyRequest<{ Params: { z32: string } }>, reply: FastifyReply) => {
    const query = new URLSearchParams(request.url.split('?')[1] ?? '')
    const headers = Object.fromEntries(
      Object.entries(request.headers).map(([name, value]) => [name, Array.isArray(value) ? value.join(', ') : value]),
    )
    const body = request.method === 'PUT' ? await documentBody(request, MAX_PACKET_BYTES) : undefined
    if (request.method === 'PUT') await refuseTooManyPackets(context, request.params.z32)
    const {
      status,
      headers: sent,
      code,
      body: content,
    } = await relay({
      method: request.method,
      path: `/${request.params.z32}`,
      query,
      headers,
      body,
    })
    if (request.method === 'PUT' && status === 204)
      await context.metadata.transaction([], (records) => records.notify('noise', request.params.z32))
    reply.code(status).headers(sent)
    if (code === undefined) return reply.send(content === undefined ? undefined : Buffer.from(content))
    const problem = {
      type: PROBLEM_TYPE_BASE + code,
      title: 'Refused by the relay',
      status,
      code,
      request_id: request.id,
    }
    return reply.type('application/problem+json').send(JSON.stringify(problem))
  }
  const summary = 'pkarr relay: signed DNS packets'
  app.route<{ Params: { z32: string } }>({
    method: ['GET', 'HEAD', 'OPTIONS'],
    url: '/pkarr/:z32',
    config: { rate: 'public', summary, idempotent: false },
    handler: answer,
  })
  app.route<{ Params: { z32: string } }>({
    method: 'PUT',
    url: '/pkarr/:z32',
    config: { rate: 'reports', summary, idempotent: false },
    handler: answer,
  })
}

/** Routes that need the vault: the exchange, runtime keys, transport keys. */
export function runtimeKeyRoutes(app: FastifyInstance, parts: ExchangeParts): void {
  exchangeRoute(app, parts)
  runtimeKeyRoute(app, parts)
  transportKeyRoute(app, parts)
}

function exchangeRoute(app: FastifyInstance, parts: ExchangeParts): void {
  app.post(
    '/noise/runtime-key',
    {
      bodyLimit: 145,
      config: {
        rate: 'noise',
        summary: 'Exchange of a runtime key over Noise, one round trip',
        bodyType: 'application/octet-stream',
        idempotent: false,
      },
    },
    async (request, reply) => {
      const answer = await answerExchange(parts, await documentBody(request, 145))
      return reply.header('cache-control', 'no-store').type('application/octet-stream').send(Buffer.from(answer))
    },
  )
}

function runtimeKeyRoute(app: FastifyInstance, parts: ExchangeParts): void {
  const { context, vault } = parts
  app.put<{ Params: { p: string; key: string } }>(
    '/v1/products/:p/runtime-keys/:key',
    {
      config: {
        scope: 'runtime-keys:write',
        summary: 'Seal a runtime key on the server',
        bodyType: 'application/octet-stream',
      },
      schema: { params: objectSchema({ p: SCHEMAS.slug, key: KEY_NUMBER }) },
    },
    async (request, reply) => {
      const { p, key } = request.params
      await readProduct(context.metadata, p)
      const blob = await documentBody(request, 84)
      try {
        const parsed = parseRuntimeKeyBlob(blob)
        const { keyId } = parsed
        parsed.dispose()
        if (keyId !== Number(key))
          throw new ServerError('SRV_REQUEST', `The blob holds key ${keyId}, the address names ${key}`)
        await refuseEarlyKey(context, p, keyId)
        await runtimeKeyCell(vault, p).seal(key, blob)
      } finally {
        wipe(blob)
      }
      await note(context, callerOf(request), 'runtime-key.store', `${p}/${key}`)
      return reply.code(204).send()
    },
  )
}

function transportKeyRoute(app: FastifyInstance, parts: ExchangeParts): void {
  const { context, keys } = parts
  app.put<{ Params: { z32: string; device: string } }>(
    '/v1/transport-keys/:z32/:device',
    {
      config: {
        scope: 'keys:write',
        summary: 'Seal the X25519 secret of a transport key (32 bytes); used while its published record says so',
        bodyType: 'application/octet-stream',
      },
      schema: { params: objectSchema({ z32: IDENTITY_NAME, device: DEVICE_NAME }) },
    },
    async (request, reply) => {
      const { z32, device } = request.params
      const publicKey = await keys.store(z32, device, await documentBody(request, 32))
      await note(context, callerOf(request), 'transport-key.store', `${z32}/${device}`)
      await context.metadata.transaction([], (records) => records.notify('noise', z32))
      return sendJson(reply, 200, { public_key: publicKey })
    },
  )
}

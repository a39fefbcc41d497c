import type { FastifyInstance } from 'fastify'
import { assembleBlob } from '../uploads/assemble.ts'
import { missingBlobs, storeBlob, viewBlob } from '../uploads/blobs.ts'
import { freeBlobs } from '../uploads/remove-blobs.ts'
import { appendAudit, AUDIT_LOCK } from '../audit/audit.ts'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import {
  MAX_ASSEMBLY_PIECES,
  MAX_ASSEMBLY_SOURCES,
  MAX_BLOB_BYTES,
  MAX_FREED,
  MAX_MISSING_QUERY,
  MAX_PUT_BYTES,
} from '../limits.ts'
import { isBlobName } from '../storage/blob-store.ts'
import type { ByteStream, Piece } from '../storage/blob-store.ts'
import { bodyStream, announcedLength } from '../http/body-stream.ts'
import { actorOf, callerOf, objectSchema, SCHEMAS, sendJson } from '../http/route.ts'
import { chargeUpload } from './upload-quota.ts'

/** Routes of blobs: which are missing, put, assemble, look up. */
export function blobRoutes(app: FastifyInstance, context: ServerContext): void {
  assembleRoute(app, context)
  app.post<{ Body: { sha256: string[] } }>(
    '/v1/blobs::missing',
    {
      config: {
        scope: 'blobs:write',
        upload: true,
        idempotent: false,
        summary: 'Which of these blobs the server lacks',
      },
      schema: { body: objectSchema({ sha256: { type: 'array', maxItems: MAX_MISSING_QUERY, items: SCHEMAS.sha256 } }) },
    },
    async (request, reply) =>
      sendJson(reply, 200, { missing: await missingBlobs(context, [...new Set(request.body.sha256)]) }),
  )

  freeRoute(app, context)
  app.put<{ Params: { sha: string }; Body: ByteStream }>(
    '/v1/blobs/:sha',
    {
      config: {
        scope: 'blobs:write',
        upload: true,
        summary: 'Store a blob of at most 16 MiB',
        bodyType: 'application/octet-stream',
        answers: { 201: 'Stored, durably', 200: 'It was stored already' },
      },
    },
    async (request, reply) => {
      const { sha } = request.params
      if (!isBlobName(sha)) throw new ServerError('BLOB_NAME', 'A blob is named by 64 lower-case hexadecimal digits')
      const size = announcedLength(request, MAX_PUT_BYTES)
      await chargeUpload(context, request, { sha256: sha, size })
      const stored = await storeBlob(context, sha, bodyStream(request, size), { size, by: actorOf(request).name })
      return sendJson(reply.header('location', `/files/${sha.slice(0, 2)}/${sha}`), stored.created ? 201 : 200, {
        sha256: sha,
        size: stored.size,
      })
    },
  )

  app.get<{ Params: { sha: string } }>(
    '/v1/blobs/:sha',
    {
      config: { scope: 'blobs:read', summary: 'What is known about a blob' },
    },
    async (request, reply) => {
      if (!isBlobName(request.params.sha))
        throw new ServerError('BLOB_NAME', 'A blob is named by 64 lower-case hexadecimal digits')
      return sendJson(reply, 200, await viewBlob(context, request.params.sha))
    },
  )
}

function freeRoute(app: FastifyInstance, context: ServerContext): void {
  app.post<{ Body: { sha256: string[] } }>(
    '/v1/blobs::free',
    {
      config: {
        scope: 'blobs:write',
        upload: true,
        idempotent: false,
        summary: 'Delete blobs that this caller uploaded and that nobody asked for or published since',
      },
      schema: {
        body: objectSchema({ sha256: { type: 'array', minItems: 1, maxItems: MAX_FREED, items: SCHEMAS.sha256 } }),
      },
    },
    async (request, reply) => {
      const freed = await freeBlobs(context, [...new Set(request.body.sha256)], actorOf(request).name)
      if (freed.length > 0) {
        await context.metadata.transaction([AUDIT_LOCK], (records) =>
          appendAudit(records, context.clock(), {
            ...callerOf(request),
            action: 'blob.delete',
            target: `${freed.length} blobs`,
            facts: { sha256: freed.join(' ') },
          }),
        )
      }
      return sendJson(reply, 200, { freed })
    },
  )
}

interface AssembleBody {
  readonly size: number
  readonly sources: readonly string[]
  readonly pieces: readonly number[]
}

function assembleRoute(app: FastifyInstance, context: ServerContext): void {
  const bytes = { type: 'integer', minimum: 0, maximum: MAX_BLOB_BYTES }
  app.post<{ Params: { sha: string }; Body: AssembleBody }>(
    '/v1/blobs/:sha(^[0-9a-f]+)::assemble',
    {
      config: {
        scope: 'blobs:write',
        upload: true,
        idempotent: false,
        summary: 'Store a blob made of pieces of stored blobs',
        answers: { 201: 'Stored, durably', 200: 'It was stored already' },
      },
      schema: {
        params: objectSchema({ sha: SCHEMAS.sha256 }),
        body: objectSchema({
          size: { ...bytes, minimum: 1 },
          sources: { type: 'array', minItems: 1, maxItems: MAX_ASSEMBLY_SOURCES, items: SCHEMAS.sha256 },
          pieces: { type: 'array', minItems: 3, maxItems: 3 * MAX_ASSEMBLY_PIECES, items: bytes },
        }),
      },
    },
    async (request, reply) => {
      const { sha } = request.params
      await chargeUpload(context, request, { sha256: sha, size: request.body.size })
      const stored = await assembleBlob(context, {
        sha256: sha,
        size: request.body.size,
        pieces: readPieces(request.body),
      })
      return sendJson(reply.header('location', `/files/${sha.slice(0, 2)}/${sha}`), stored.created ? 201 : 200, {
        sha256: sha,
        size: stored.size,
      })
    },
  )
}

/** Three numbers a piece: which source, its first byte, how many bytes. */
function readPieces({ sources, pieces }: AssembleBody): Piece[] {
  const read: Piece[] = []
  for (let at = 0; at < pieces.length; at += 3) {
    const sha256 = sources[pieces[at] as number]
    const [start, length] = [pieces[at + 1], pieces[at + 2]]
    if (sha256 === undefined || start === undefined || length === undefined || length === 0)
      throw new ServerError('SRV_REQUEST', `Cannot read piece ${at / 3}: expected a source, an offset and a length`)
    read.push({ sha256, start, length })
  }
  return read
}

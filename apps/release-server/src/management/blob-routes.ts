import type { FastifyInstance } from 'fastify'
import { missingBlobs, storeBlob, viewBlob } from '../uploads/blobs.ts'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import { MAX_MISSING_QUERY, MAX_PUT_BYTES } from '../limits.ts'
import { isBlobName } from '../storage/blob-store.ts'
import type { ByteStream } from '../storage/blob-store.ts'
import { bodyStream, announcedLength } from '../http/body-stream.ts'
import { objectSchema, SCHEMAS, sendJson } from '../http/route.ts'

/** Routes of blobs: which are missing, put, look up. */
export function blobRoutes(app: FastifyInstance, context: ServerContext): void {
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
      const stored = await storeBlob(context, sha, bodyStream(request, size), { size })
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

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { base64Decode, utf8Decode } from '@keyturn/primitives'
import { createHash } from 'node:crypto'
import { recordBlob, storedSize } from '../uploads/blobs.ts'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import { MAX_BLOB_BYTES, MAX_PUT_BYTES } from '../limits.ts'
import { isBlobName } from '../storage/blob-store.ts'
import type { ByteStream } from '../storage/blob-store.ts'
import { continueUpload, endUpload, getUpload, startUpload } from '../uploads/uploads.ts'
import type { Upload } from '../uploads/uploads.ts'
import { bodyStream, announcedLength } from '../http/body-stream.ts'
import { actorOf, objectSchema, SCHEMAS, sendJson } from '../http/route.ts'
import { chargeUpload } from './upload-quota.ts'

const TUS_VERSION = '1.0.0'
/** What all calls of uploads share. */
const UPLOAD = { scope: 'blobs:write', upload: true, idempotent: false } as const
const PRESIGN_PARAMS = objectSchema({ sha: SCHEMAS.sha256 })
const SIZE = { type: 'integer', minimum: 1, maximum: MAX_BLOB_BYTES }

function checkVersion(request: FastifyRequest): void {
  if (request.headers['tus-resumable'] !== TUS_VERSION) {
    throw new ServerError('SRV_PRECONDITION', `Cannot read this upload request: expected Tus-Resumable ${TUS_VERSION}`)
  }
}

function wholeNumber(text: unknown, name: string, most: number): number {
  if (typeof text !== 'string' || !/^\d{1,15}$/.test(text))
    throw new ServerError('SRV_REQUEST', `Cannot read header ${name}: expected a whole number`)
  const value = Number(text)
  if (value > most) throw new ServerError('SRV_LIMIT', `Cannot take ${value} bytes: at most ${most}`)
  return value
}

/** The blob name in `Upload-Metadata: sha256 <base64>`. */
function announcedHash(metadata: unknown): string {
  const pairs = typeof metadata === 'string' ? metadata.split(',').map((pair) => pair.trim().split(' ')) : []
  const value = pairs.find(([name]) => name === 'sha256')?.[1]
  const hash = value === undefined ? '' : utf8Decode(base64Decode(value))
  if (!isBlobName(hash))
    throw new ServerError(
      'SRV_REQUEST',
      'Cannot read header Upload-Metadata: expected "sha256 <base64 of 64 hex digits>"',
    )
  return hash
}

/**
 * Checks each piece against `Upload-Checksum`, where one is sent: the piece is read whole before a byte of it counts.
 */
async function checkedPiece(request: FastifyRequest, size: number): Promise<ByteStream> {
  const header = request.headers['upload-checksum']
  const body = bodyStream(request, size)
  if (header === undefined) return body
  const [algorithm, digest] = String(header).split(' ')
  if (algorithm !== 'sha256' && algorithm !== 'sha1')
    throw new ServerError('SRV_REQUEST', 'Cannot check the piece: expected sha256 or sha1')
  const parts: Uint8Array[] = []
  const hash = createHash(algorithm)
  for await (const part of body) {
    hash.update(part)
    parts.push(part)
  }
  if (hash.digest('base64') !== digest)
    throw new ServerError('UP_CHECKSUM', 'The piece does not have the checksum it was sent with')
  return (async function* () {
    yield* parts
  })()
}

function answer(reply: FastifyReply, status: number, upload: Upload): FastifyReply {
  return reply
    .code(status)
    .header('tus-resumable', TUS_VERSION)
    .header('cache-control', 'no-store')
    .header('upload-offset', String(upload.offset))
    .header('upload-length', String(upload.size))
    .header('upload-expires', new Date(upload.expires_ms).toUTCString())
    .send()
}

/** Routes of resumable uploads: tus 1.0 with creation, checksum, expiration and termination. */
export function uploadRoutes(app: FastifyInstance, context: ServerContext): void {
  uploadStartRoutes(app, context)
  uploadProgressRoutes(app, context)
  presignRoutes(app, context)
}

function uploadStartRoutes(app: FastifyInstance, context: ServerContext): void {
  app.options(
    '/v1/uploads',
    { config: { summary: 'What the upload protocol can do', rate: 'none' } },
    async (_request, reply) =>
      reply
        .code(204)
        .header('tus-resumable', TUS_VERSION)
        .header('tus-version', TUS_VERSION)
        .header('tus-max-size', String(MAX_BLOB_BYTES))
        .header('tus-extension', 'creation,checksum,expiration,termination')
        .header('tus-checksum-algorithm', 'sha256,sha1')
        .send(),
  )

  app.post(
    '/v1/uploads',
    { config: { ...UPLOAD, summary: 'Start a resumable upload, or continue an unfinished one' } },
    async (request, reply) => {
      checkVersion(request)
      const size = wholeNumber(request.headers['upload-length'], 'Upload-Length', MAX_BLOB_BYTES)
      const sha256 = announcedHash(request.headers['upload-metadata'])
      await chargeUpload(context, request, { sha256, size })
      const upload = await startUpload(context, sha256, size, actorOf(request).name)
      return answer(reply.header('location', `/v1/uploads/${upload.id}`), 201, upload)
    },
  )
}

function uploadProgressRoutes(app: FastifyInstance, context: ServerContext): void {
  app.head<{ Params: { id: string } }>(
    '/v1/uploads/:id',
    { config: { ...UPLOAD, summary: 'Where a resumable upload continues' } },
    async (request, reply) => {
      checkVersion(request)
      return answer(reply, 200, await getUpload(context, request.params.id, actorOf(request).name))
    },
  )

  app.patch<{ Params: { id: string } }>(
    '/v1/uploads/:id',
    {
      config: { ...UPLOAD, summary: 'Send the next piece', bodyType: 'application/offset+octet-stream' },
    },
    async (request, reply) => {
      checkVersion(request)
      if (request.headers['content-type'] !== 'application/offset+octet-stream')
        throw new ServerError('SRV_MEDIA_TYPE', 'A piece is application/offset+octet-stream')
      const upload = await getUpload(context, request.params.id, actorOf(request).name)
      const offset = wholeNumber(request.headers['upload-offset'], 'Upload-Offset', MAX_BLOB_BYTES)
      const piece = await checkedPiece(request, announcedLength(request, MAX_PUT_BYTES))
      return answer(reply, 204, await continueUpload(context, upload, offset, piece))
    },
  )

  app.delete<{ Params: { id: string } }>(
    '/v1/uploads/:id',
    { config: { ...UPLOAD, summary: 'End a resumable upload' } },
    async (request, reply) => {
      checkVersion(request)
      await endUpload(context, await getUpload(context, request.params.id, actorOf(request).name))
      return reply.code(204).header('tus-resumable', TUS_VERSION).send()
    },
  )
}

/** Uploads that bypass the server, straight into the storage, where it can do that. */
function presignRoutes(app: FastifyInstance, context: ServerContext): void {
  presignRoute(app, context)
  presignedEndRoutes(app, context)
}

function presignRoute(app: FastifyInstance, context: ServerContext): void {
  app.post<{ Params: { sha: string }; Body: { size: number } }>(
    '/v1/blobs/:sha(^[0-9a-f]+)::presign',
    {
      config: { ...UPLOAD, summary: 'Addresses for an upload straight into the storage (S3)' },
      schema: { params: PRESIGN_PARAMS, body: objectSchema({ size: SIZE }) },
    },
    async (request, reply) => {
      const { blobs } = context
      if (blobs.presign === undefined)
        throw new ServerError('SRV_NOT_FOUND', 'The storage of this server takes no direct uploads: use /v1/uploads')
      await chargeUpload(context, request, { sha256: request.params.sha, size: request.body.size })
      const { uploadId, partBytes, urls, expiresAt } = await blobs.presign(request.params.sha, request.body.size)
      return sendJson(reply, 200, { upload_id: uploadId, part_bytes: partBytes, urls, expires_at: expiresAt })
    },
  )
}

function presignedEndRoutes(app: FastifyInstance, context: ServerContext): void {
  app.post<{ Params: { sha: string }; Body: { size: number; upload_id: string; etags: string[] } }>(
    '/v1/blobs/:sha(^[0-9a-f]+)::complete',
    {
      config: { ...UPLOAD, summary: 'End a direct upload: the parts are joined, read back and hashed' },
      schema: {
        params: PRESIGN_PARAMS,
        body: objectSchema({
          size: SIZE,
          upload_id: { type: 'string', minLength: 1, maxLength: 1024 },
          etags: {
            type: 'array',
            minItems: 1,
            maxItems: 10_000,
            items: { type: 'string', maxLength: 128, pattern: '^"?[0-9A-Za-z-]{1,120}"?$' },
          },
        }),
      },
    },
    async (request, reply) => {
      const { size: bytes, upload_id: uploadId, etags } = request.body
      const stored = await storedSize(context, request.params.sha)
      // The answer to an earlier call was lost, or another upload was faster.
      if (stored === bytes) return sendJson(reply, 200, { sha256: request.params.sha, size: bytes })
      const info = await context.blobs.completePresigned?.(request.params.sha, bytes, uploadId, etags)
      if (info === undefined)
        throw new ServerError('SRV_NOT_FOUND', 'The storage of this server takes no direct uploads: use /v1/uploads')
      await recordBlob(context, info.sha256, info.size, actorOf(request).name)
      return sendJson(reply, 201, { sha256: info.sha256, size: info.size })
    },
  )

  app.post<{ Params: { sha: string }; Body: { upload_id: string } }>(
    '/v1/blobs/:sha(^[0-9a-f]+)::abort',
    {
      config: { ...UPLOAD, summary: 'End a direct upload without a blob and drop its parts' },
      schema: {
        params: PRESIGN_PARAMS,
        body: objectSchema({ upload_id: { type: 'string', minLength: 1, maxLength: 1024 } }),
      },
    },
    async (request, reply) => {
      if (context.blobs.abortPresigned === undefined)
        throw new ServerError('SRV_NOT_FOUND', 'The storage of this server takes no direct uploads: use /v1/uploads')
      await context.blobs.abortPresigned(request.body.upload_id)
      return reply.code(204).send()
    },
  )
}

import { base64urlEncode } from '@keyturn/primitives'
import type { JsonObject } from '@keyturn/primitives'
import { recordBlob } from './blobs.ts'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import type { ByteStream } from '../storage/blob-store.ts'

/** A resumable upload as stored. */
export interface Upload {
  readonly id: string
  readonly sha256: string
  readonly size: number
  readonly offset: number
  readonly actor: string
  readonly expires_ms: number
  /** Set when all bytes are there and the blob is in place. */
  readonly done: boolean
}

/** How long an upload may rest before it is swept. */
export const uploadLifeMs = 24 * 60 * 60_000
const lockPrefix = 'upload:'

/** Starts a resumable upload, or goes on with an unfinished one of the same actor and blob. */
export async function startUpload(
  context: ServerContext,
  sha256: string,
  size: number,
  actor: string,
): Promise<Upload> {
  const now = context.clock()
  const pointer = `${actor}/${sha256}`
  return context.metadata.transaction([`${lockPrefix}${pointer}`], async (records) => {
    const known = (await records.get('upload-names', pointer))?.value as { id: string } | undefined
    const old =
      known === undefined
        ? undefined
        : ((await records.get('uploads', known.id))?.value as unknown as Upload | undefined)
    if (old !== undefined && !old.done && old.size === size && old.expires_ms > now) return old
    const upload: Upload = {
      id: base64urlEncode(context.random(18)),
      sha256,
      size,
      offset: 0,
      actor,
      expires_ms: now + uploadLifeMs,
      done: false,
    }
    await records.put('uploads', { key: upload.id, value: upload as unknown as JsonObject })
    await records.put('upload-names', { key: pointer, value: { id: upload.id } })
    return upload
  })
}

/** Reads an upload; `UP_UNKNOWN` when there is none (or it is somebody else's), `UP_GONE` when it has expired. */
export async function getUpload(context: ServerContext, id: string, actor: string): Promise<Upload> {
  const upload = (await context.metadata.get('uploads', id))?.value as unknown as Upload | undefined
  if (upload === undefined || upload.actor !== actor) throw new ServerError('UP_UNKNOWN', 'There is no such upload')
  if (upload.expires_ms <= context.clock()) throw new ServerError('UP_GONE', 'The upload has expired')
  // All bytes came, and then the server died: what is left to do is done now.
  return upload.offset === upload.size && !upload.done ? finish(context, upload) : upload
}

/** Who is writing to which upload in this process; across replicas the offset in the store decides. */
const writing = new Set<string>()

/** Adds bytes at an offset; what came before a broken connection counts too. Complete uploads become blobs. */
export async function continueUpload(
  context: ServerContext,
  upload: Upload,
  offset: number,
  source: ByteStream,
): Promise<Upload> {
  if (offset !== upload.offset || upload.done) {
    throw new ServerError('UP_OFFSET', `Cannot continue at ${offset}: the upload goes on at ${upload.offset}`, {
      details: { offset: upload.offset },
    })
  }
  if (writing.has(upload.id))
    throw new ServerError('UP_OFFSET', 'Cannot continue: another request is writing to this upload')
  writing.add(upload.id)
  try {
    const reached = await context.blobs.append(upload.id, offset, source, upload.size)
    const moved = await advance(context, upload, reached)
    return moved.offset === moved.size ? await finish(context, moved) : moved
  } finally {
    writing.delete(upload.id)
  }
}

/** Moves the stored offset on, unless somebody else moved it first. */
async function advance(context: ServerContext, upload: Upload, reached: number): Promise<Upload> {
  return context.metadata.transaction([`${lockPrefix}${upload.id}`], async (records) => {
    const stored = (await records.get('uploads', upload.id))?.value as unknown as Upload | undefined
    if (stored === undefined || stored.offset !== upload.offset) {
      throw new ServerError('UP_OFFSET', 'Cannot continue: another request moved the upload on')
    }
    const moved: Upload = { ...upload, offset: reached, expires_ms: context.clock() + uploadLifeMs }
    await records.put('uploads', { key: upload.id, value: moved as unknown as JsonObject })
    return moved
  })
}

async function finish(context: ServerContext, upload: Upload): Promise<Upload> {
  const done: Upload = { ...upload, done: true }
  try {
    await context.blobs.finish(upload.id, upload.sha256, upload.size)
  } catch (error) {
    if (error instanceof ServerError && (error.code === 'UP_HASH' || error.code === 'UP_LENGTH'))
      await endUpload(context, upload)
    throw error
  }
  await recordBlob(context, upload.sha256, upload.size)
  await context.metadata.transaction([`${lockPrefix}${upload.id}`], async (records) => {
    await records.put('uploads', { key: upload.id, value: done as unknown as JsonObject })
    await records.delete('upload-names', `${upload.actor}/${upload.sha256}`)
  })
  return done
}

/** Ends an upload and drops its bytes. */
export async function endUpload(context: ServerContext, upload: Upload): Promise<void> {
  await context.metadata.transaction([`${lockPrefix}${upload.id}`], async (records) => {
    await records.delete('uploads', upload.id)
    await records.delete('upload-names', `${upload.actor}/${upload.sha256}`)
  })
  await context.blobs.discard(upload.id)
}

/** Drops uploads that have expired, and bytes that belong to none. */
export async function sweepUploads(context: ServerContext): Promise<number> {
  const now = context.clock()
  let swept = 0
  const records = await context.metadata.list('uploads', { limit: 100_000 })
  const open = new Set<string>()
  for (const { value } of records) {
    const upload = value as unknown as Upload
    if (upload.expires_ms > now) open.add(upload.id)
    else {
      await endUpload(context, upload)
      swept += 1
    }
  }
  for await (const { id, writtenMs } of context.blobs.listUploads()) {
    if (open.has(id) || writtenMs > now - uploadLifeMs) continue
    await context.blobs.discard(id)
    swept += 1
  }
  return swept
}

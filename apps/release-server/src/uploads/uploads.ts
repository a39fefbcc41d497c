import { base64urlEncode } from '@keyturn/primitives'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import type { ByteStream } from '../storage/blob-store.ts'
import { collection } from '../storage/collection.ts'
import { flag, numeric, object, text, whole } from '../storage/shape.ts'
import { recordBlob } from './blobs.ts'

/** A resumable upload as stored. */
export interface Upload {
  readonly id: string
  readonly sha256: string
  readonly size: number
  readonly offset: number
  readonly actor: string
  readonly expires_ms: number
  /** Set once all bytes are here and the blob is in place. */
  readonly done: boolean
}

/** Uploads by their id. */
export const uploads = collection(
  'uploads',
  object<Upload>({
    id: text,
    sha256: text,
    size: whole,
    offset: whole,
    actor: text,
    expires_ms: numeric,
    done: flag,
  }),
)
/** The unfinished upload of an actor for a blob. */
const uploadNames = collection('upload-names', object<{ readonly id: string }>({ id: text }))

/** How long an upload may rest before it is swept. */
export const UPLOAD_LIFE_MS = 24 * 60 * 60_000
const LOCK_PREFIX = 'upload:'

/** Starts a resumable upload, or continues an unfinished one of the same actor and blob. */
export async function startUpload(
  context: ServerContext,
  sha256: string,
  size: number,
  actor: string,
): Promise<Upload> {
  const now = context.clock()
  const pointer = `${actor}/${sha256}`
  const started = await context.metadata.transaction([`${LOCK_PREFIX}${pointer}`], async (records) => {
    const known = await uploadNames.get(records, pointer)
    const old = known === undefined ? undefined : await uploads.get(records, known.id)
    if (old !== undefined && !old.done && old.size === size && old.expires_ms > now) return old
    const upload: Upload = {
      id: base64urlEncode(context.random(18)),
      sha256,
      size,
      offset: 0,
      actor,
      expires_ms: now + UPLOAD_LIFE_MS,
      done: false,
    }
    await uploads.put(records, { key: upload.id, value: upload })
    await uploadNames.put(records, { key: pointer, value: { id: upload.id } })
    return upload
  })
  // An empty upload has all its bytes already, and no request will come to bring more.
  return size === 0 ? complete(context, started) : started
}

async function complete(context: ServerContext, upload: Upload): Promise<Upload> {
  if (upload.size === 0) await context.blobs.append(upload.id, 0, nothing(), 0)
  return finish(context, upload)
}

async function* nothing(): ByteStream {}

/** Reads an upload; `UP_UNKNOWN` when there is none (or it belongs to somebody else), `UP_GONE` when it has expired. */
export async function getUpload(context: ServerContext, id: string, actor: string): Promise<Upload> {
  const upload = await uploads.get(context.metadata, id)
  if (upload === undefined || upload.actor !== actor) throw new ServerError('UP_UNKNOWN', 'There is no such upload')
  if (upload.expires_ms <= context.clock()) throw new ServerError('UP_GONE', 'The upload has expired')
  // All bytes came, and then the server died: what is left to do is done now.
  return upload.offset === upload.size && !upload.done ? complete(context, upload) : upload
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
    throw new ServerError('UP_OFFSET', `Cannot continue at ${offset}: the upload continues at ${upload.offset}`, {
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

/** Moves the stored offset forward, unless somebody else moved it first. */
async function advance(context: ServerContext, upload: Upload, reached: number): Promise<Upload> {
  return context.metadata.transaction([`${LOCK_PREFIX}${upload.id}`], async (records) => {
    const stored = await uploads.get(records, upload.id)
    if (stored === undefined || stored.offset !== upload.offset) {
      throw new ServerError('UP_OFFSET', 'Cannot continue: another request continued the upload')
    }
    const moved: Upload = { ...upload, offset: reached, expires_ms: context.clock() + UPLOAD_LIFE_MS }
    await uploads.put(records, { key: upload.id, value: moved })
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
  await recordBlob(context, upload.sha256, upload.size, upload.actor)
  await context.metadata.transaction([`${LOCK_PREFIX}${upload.id}`], async (records) => {
    await uploads.put(records, { key: upload.id, value: done })
    await uploadNames.delete(records, `${upload.actor}/${upload.sha256}`)
  })
  return done
}

/** Ends an upload and drops its bytes. */
export async function endUpload(context: ServerContext, upload: Upload): Promise<void> {
  await context.metadata.transaction([`${LOCK_PREFIX}${upload.id}`], async (records) => {
    await uploads.delete(records, upload.id)
    await uploadNames.delete(records, `${upload.actor}/${upload.sha256}`)
  })
  await context.blobs.discard(upload.id)
}

/** Drops uploads that have expired, and bytes that belong to none. */
export async function sweepUploads(context: ServerContext): Promise<number> {
  const now = context.clock()
  let swept = 0
  const open = new Set<string>()
  for (const { value: upload } of await uploads.all(context.metadata)) {
    if (upload.expires_ms > now) open.add(upload.id)
    else {
      await endUpload(context, upload)
      swept += 1
    }
  }
  for await (const { id, writtenMs } of context.blobs.listUploads()) {
    if (open.has(id) || writtenMs > now - UPLOAD_LIFE_MS) continue
    await context.blobs.discard(id)
    swept += 1
  }
  return swept
}

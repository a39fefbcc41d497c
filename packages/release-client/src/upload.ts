import { utf8Encode, base64Encode } from '@keyturn/primitives'
import { API_LIMITS } from './limits.ts'
import { ServerError } from './errors.ts'
import { uploadDirectly } from './direct-upload.ts'
import type { BlobSource, UploadOptions } from './blob-source.ts'
import type { HttpCaller } from './http.ts'

/** Bytes of one piece of a resumable upload. */
const PIECE_BYTES = 8 * 1024 * 1024

/**
 * Uploads one blob: in one request when small, otherwise straight into the storage where the server offers that, or
 * resumable; an interrupted upload continues where it stopped.
 */
export async function uploadBlob(http: HttpCaller, source: BlobSource, options: UploadOptions = {}): Promise<void> {
  if (source.size <= API_LIMITS.maxPutBytes) return putWhole(http, source, options)
  if (await uploadDirectly(http, source, options)) return
  const path = await createUpload(http, source, options)
  let offset = await uploadOffset(http, path, source, options)
  for (let [furthest, stalled] = [offset, 0]; offset < source.size;) {
    const piece = await source.read(offset, Math.min(PIECE_BYTES, source.size - offset))
    const next = await sendPiece(http, source, { path, offset, piece }, options)
    options.onProgress?.(Math.max(0, next - offset))
    offset = next
    stalled = next > furthest ? 0 : stalled + 1
    furthest = Math.max(furthest, next)
    if (stalled > MAX_STALLED)
      throw new ServerError('SRV_REQUEST', `Cannot upload blob ${source.sha256}: the server stays at byte ${furthest}`)
  }
}

async function putWhole(http: HttpCaller, source: BlobSource, options: UploadOptions): Promise<void> {
  const body = await source.read(0, source.size)
  await http.send({
    method: 'PUT',
    path: `/v1/blobs/${source.sha256}`,
    what: `upload blob ${source.sha256}`,
    body,
    signal: options.signal,
    headers: { 'content-type': 'application/octet-stream' },
  })
  options.onProgress?.(source.size)
}

const tus = { 'tus-resumable': '1.0.0' }

/** Pieces in a row after which the server may have no more than before. */
const MAX_STALLED = 8

/** Starts an upload, or finds the unfinished one of the caller; returns its path. */
export async function createUpload(
  http: HttpCaller,
  source: Pick<BlobSource, 'sha256' | 'size'>,
  options: UploadOptions,
): Promise<string> {
  const response = await http.send({
    method: 'POST',
    path: '/v1/uploads',
    what: `start the upload of blob ${source.sha256}`,
    signal: options.signal,
    headers: {
      ...tus,
      'upload-length': String(source.size),
      'upload-metadata': `sha256 ${base64Encode(utf8Encode(source.sha256))}`,
    },
  })
  const location = response.headers.get('location') ?? ''
  const path = location.startsWith('/') ? location : new URL(location, 'http://server').pathname
  if (!/^\/v1\/uploads\/[A-Za-z0-9_-]{8,64}$/.test(path)) {
    throw new ServerError('SRV_REQUEST', `Cannot upload blob ${source.sha256}: the server returned no address for it`)
  }
  return path
}

async function uploadOffset(
  http: HttpCaller,
  path: string,
  source: BlobSource,
  options: UploadOptions,
): Promise<number> {
  const response = await http.send({
    method: 'HEAD',
    path,
    what: `resume the upload of blob ${source.sha256}`,
    headers: tus,
    signal: options.signal,
  })
  return readOffset(response, source)
}

function readOffset(response: Response, source: BlobSource): number {
  const offset = Number(response.headers.get('upload-offset') ?? Number.NaN)
  if (Number.isSafeInteger(offset) && offset >= 0 && offset <= source.size) return offset
  throw new ServerError('SRV_REQUEST', `Cannot upload blob ${source.sha256}: the server returned no valid offset`)
}

async function sendPiece(
  http: HttpCaller,
  source: BlobSource,
  { path, offset, piece }: { readonly path: string; readonly offset: number; readonly piece: Uint8Array },
  options: UploadOptions,
): Promise<number> {
  const response = await http.send({
    method: 'PATCH',
    path,
    what: `upload blob ${source.sha256}`,
    body: piece,
    signal: options.signal,
    accept: [409],
    headers: { ...tus, 'content-type': 'application/offset+octet-stream', 'upload-offset': String(offset) },
  })
  // A repeated piece whose first answer was lost: the server is ahead of us, so ask.
  if (response.status === 409) return uploadOffset(http, path, source, options)
  return readOffset(response, source)
}

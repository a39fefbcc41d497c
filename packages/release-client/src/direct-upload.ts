import { isTag, mayUse } from './check-presigned.ts'
import type { Presigned } from './check-presigned.ts'
import type { HttpCaller } from './http.ts'
import type { BlobSource, UploadOptions } from './blob-source.ts'

/** Callers whose server takes no direct uploads, or who cannot reach its storage; they do not try again. */
const without = new WeakSet<HttpCaller>()

/**
 * Uploads a blob straight into the storage of the server, where it can do that: by addresses that the server signs, so
 * the bytes do not pass through it. The server joins the parts, reads them back and hashes them.
 *
 * @returns False when the server takes no such uploads, names addresses that may not be used, or its storage cannot be
 *   reached from here; then nothing of it remains, and the bytes go through the server.
 */
export async function uploadDirectly(http: HttpCaller, source: BlobSource, options: UploadOptions): Promise<boolean> {
  if (options.direct === false || without.has(http)) return false
  const { signal } = options
  const path = `/v1/blobs/${source.sha256}`
  const what = `upload blob ${source.sha256} into the storage`
  const presigned = await http.find<Presigned>({
    method: 'POST',
    path: `${path}:presign`,
    what,
    json: { size: source.size },
    signal,
  })
  if (presigned === undefined || !mayUse(presigned, source.size, http.server)) {
    without.add(http)
    return false
  }
  const abort = (): Promise<unknown> =>
    http
      .send({ method: 'POST', path: `${path}:abort`, what, json: { upload_id: presigned.upload_id }, repeat: false })
      .catch(() => undefined)
  const etags = await sendParts(http, source, presigned, options).catch(async (error: unknown) => {
    await abort()
    throw error
  })
  if (etags === undefined) {
    without.add(http)
    await abort()
    return false
  }
  await http.json({
    method: 'POST',
    path: `${path}:complete`,
    what,
    json: { size: source.size, upload_id: presigned.upload_id, etags },
    signal,
  })
  return true
}

/** Sends the parts; undefined when the storage refuses one of them. */
async function sendParts(
  http: HttpCaller,
  source: BlobSource,
  presigned: Presigned,
  { signal, onProgress }: UploadOptions,
): Promise<string[] | undefined> {
  const etags: string[] = []
  for (const [at, url] of presigned.urls.entries()) {
    const start = at * presigned.part_bytes
    const part = await source.read(start, Math.min(presigned.part_bytes, source.size - start))
    const etag = await http.putElsewhere(url, part, signal)
    if (etag === undefined || !isTag(etag)) {
      // The bytes reported as progress are sent again through the server.
      onProgress?.(-Math.min(start, source.size))
      return undefined
    }
    onProgress?.(part.length)
    etags.push(etag)
  }
  return etags
}

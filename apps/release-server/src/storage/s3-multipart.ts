import { ServerError } from '../errors.ts'
import type { ByteStream, Piece } from './blob-store.ts'
import { collectBytes } from '@keyturn/primitives'
import { READ_PART_BYTES } from './s3-assembly.ts'
import type { PlannedPart } from './s3-assembly.ts'
import { xmlTexts } from './s3-request.ts'
import type { S3Caller } from './s3-request.ts'

/** Answers for what a server, or a key, does not offer, or for what does not exist. */
export const NOT_OFFERED = [400, 403, 404, 405, 501]

/** Multipart uploads of one bucket. */
export class S3Multipart {
  readonly #s3: S3Caller

  constructor(s3: S3Caller) {
    this.#s3 = s3
  }

  async start(key: string): Promise<string> {
    const [uploadId] = xmlTexts(await this.#s3.text({ method: 'POST', key, query: { uploads: '' } }), 'UploadId')
    if (uploadId === undefined)
      throw new ServerError('SRV_STORAGE', 'Cannot start a multipart upload: the S3 server returned no id')
    return uploadId
  }

  async put(key: string, uploadId: string, number: number, body: Uint8Array): Promise<string> {
    const response = await this.#s3.send({ method: 'PUT', key, query: { partNumber: String(number), uploadId }, body })
    return response.headers.get('etag') ?? ''
  }

  async complete(key: string, uploadId: string, etags: readonly string[]): Promise<void> {
    const parts = etags.map(
      (etag, at) => `<Part><PartNumber>${at + 1}</PartNumber><ETag>${etag.replaceAll('"', '&quot;')}</ETag></Part>`,
    )
    const body = new TextEncoder().encode(`<CompleteMultipartUpload>${parts.join('')}</CompleteMultipartUpload>`)
    const answer = await this.#s3.text({
      method: 'POST',
      key,
      query: { uploadId },
      body,
      headers: { 'content-type': 'application/xml' },
    })
    refuseError('complete a multipart upload', answer)
  }

  async abort(key: string, uploadId: string): Promise<void> {
    await this.#s3.send({ method: 'DELETE', key, query: { uploadId }, accept: NOT_OFFERED })
  }

  /** Puts an object together from ranges that the storage copies, and bytes that are sent. */
  async join(
    key: string,
    plan: readonly PlannedPart[],
    from: { keyOf(sha256: string): string; read(pieces: readonly Piece[]): ByteStream },
  ): Promise<void> {
    const uploadId = await this.start(key)
    try {
      const etags: string[] = []
      for (const part of plan) {
        const number = etags.length + 1
        if ('copy' in part)
          etags.push(await this.#copyPart({ key, uploadId, number }, from.keyOf(part.copy.sha256), part.copy))
        else etags.push(await this.put(key, uploadId, number, await bytesOfPart(from.read(part.send))))
      }
      await this.complete(key, uploadId, etags)
    } catch (error) {
      await this.abort(key, uploadId).catch(() => undefined)
      throw error
    }
  }

  async #copyPart(
    { key, uploadId, number }: { readonly key: string; readonly uploadId: string; readonly number: number },
    source: string,
    { start, length }: Piece,
  ): Promise<string> {
    const headers = {
      'x-amz-copy-source': this.#s3.pathOf(source),
      'x-amz-copy-source-range': `bytes=${start}-${start + length - 1}`,
    }
    const query = { partNumber: String(number), uploadId }
    const response = await this.#s3.send({ method: 'PUT', key, query, headers, accept: NOT_OFFERED })
    const answer = await response.text()
    const [etag] = xmlTexts(answer, 'ETag')
    if (response.ok) refuseError('copy a part', answer)
    // A server that knows no such copies says so, or stores an empty part and answers as to any other.
    if (!response.ok || etag === undefined)
      throw new ServerError('SRV_STORAGE', 'Cannot copy a part: the S3 server does not do it', {
        details: { status: response.ok ? 501 : response.status },
      })
    return etag
  }
}

/** Some answers send their status before the work is done: their body may still report a failure. */
export function refuseError(what: string, answer: string): void {
  if (answer.includes('<Error>'))
    throw new ServerError('SRV_STORAGE', `Cannot ${what}: ${xmlTexts(answer, 'Code')[0] ?? 'unknown'}`)
}

async function bytesOfPart(source: ByteStream): Promise<Uint8Array> {
  return await collectBytes(
    source,
    READ_PART_BYTES,
    (most) => new ServerError('SRV_STORAGE', `Cannot send a part of more than ${most} bytes`),
  )
}

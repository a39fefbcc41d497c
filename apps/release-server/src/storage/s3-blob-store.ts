import { timestamp } from '../time.ts'
import { randomBytes } from 'node:crypto'
import { ServerError } from '../errors.ts'
import { isBlobName, isUploadName } from './blob-store.ts'
import type { BlobInfo, BlobStore, ByteRange, ByteStream, Piece, PresignedUpload, PutOptions } from './blob-store.ts'
import { hashed } from './hashing.ts'
import { bytesOf } from './piece-bytes.ts'
import { pieces } from './pieces.ts'
import { planParts } from './s3-assembly.ts'
import type { PlannedPart } from './s3-assembly.ts'
import { NOT_OFFERED, refuseError, S3Multipart } from './s3-multipart.ts'
import { S3Caller, xmlTexts } from './s3-request.ts'
import type { S3Settings } from './s3-request.ts'

/** Bytes of one part of a multipart upload; also the most that is buffered for an upload. */
const PART_BYTES = 8 * 1024 * 1024
/** Largest object that a server-side copy takes. */
const MAX_COPY_BYTES = 5 * 1024 * 1024 * 1024
const PRESIGN_SECONDS = 3600
/** How long a direct upload that nobody ends is kept. */
const INCOMING_LIFE_MS = 24 * 60 * 60_000

/** Opens a blob store in a bucket of an S3-compatible server. Any number of servers may share it. */
export function openS3BlobStore(settings: S3Settings): BlobStore {
  return new S3BlobStore(new S3Caller(settings), settings.clock ?? Date.now)
}

interface Listed {
  readonly key: string
  readonly size: number
  readonly writtenMs: number
}

class S3BlobStore implements BlobStore {
  readonly kind = 's3'
  readonly #s3: S3Caller
  readonly #clock: () => number
  /** Direct uploads that are being read back: callers who ask again wait for the same answer. */
  readonly #completing = new Map<string, Promise<BlobInfo>>()

  readonly #parts: S3Multipart
  /** A server that copies no parts is asked once. */
  #copiesParts = true

  constructor(s3: S3Caller, clock: () => number) {
    this.#s3 = s3
    this.#parts = new S3Multipart(s3)
    this.#clock = clock
  }

  async stat(sha256: string): Promise<BlobInfo | undefined> {
    const response = await this.#s3.send({ method: 'HEAD', key: blobKey(sha256), accept: [404] })
    if (response.status === 404) return undefined
    const written = Date.parse(response.headers.get('last-modified') ?? '')
    return {
      sha256,
      size: Number(response.headers.get('content-length')),
      writtenMs: Number.isNaN(written) ? 0 : written,
    }
  }

  async read(sha256: string, range?: ByteRange): Promise<ByteStream> {
    const headers = range === undefined ? {} : { headers: { range: `bytes=${range.start}-${range.end}` } }
    const response = await this.#s3.send({ method: 'GET', key: blobKey(sha256), accept: [404], ...headers })
    if (response.status === 404) {
      await response.body?.cancel()
      throw new ServerError('BLOB_UNKNOWN', `Cannot read blob ${sha256}: it is not stored`)
    }
    return bodyOf(response)
  }

  async put(sha256: string, source: ByteStream, options: PutOptions = {}): Promise<BlobInfo> {
    const key = blobKey(sha256)
    const parts = pieces(hashed(sha256, source, options), PART_BYTES)
    // The generator throws at its end for wrong bytes: then a single piece is never sent, and several are never
    // completed.
    const first = await parts.next()
    const second = await parts.next()
    if (second.done === true)
      await this.#s3.send({ method: 'PUT', key, body: first.done === true ? new Uint8Array(0) : first.value })
    else if (first.done !== true) await this.#multipart(key, first.value, second.value, parts)
    const info = await this.stat(sha256)
    if (info === undefined) throw new ServerError('SRV_STORAGE', `Cannot find blob ${sha256} just after it was written`)
    return info
  }

  async #multipart(key: string, first: Uint8Array, second: Uint8Array, rest: AsyncIterable<Uint8Array>): Promise<void> {
    const uploadId = await this.#parts.start(key)
    try {
      const etags = [await this.#parts.put(key, uploadId, 1, first), await this.#parts.put(key, uploadId, 2, second)]
      for await (const part of rest) etags.push(await this.#parts.put(key, uploadId, etags.length + 1, part))
      await this.#parts.complete(key, uploadId, etags)
    } catch (error) {
      await this.#parts.abort(key, uploadId).catch(() => undefined)
      throw error
    }
  }

  async assemble(sha256: string, size: number, pieces: readonly Piece[]): Promise<BlobInfo> {
    const plan = this.#copiesParts ? planParts(pieces) : undefined
    if (plan !== undefined) {
      const copied = await this.#assembleByCopies(sha256, size, plan)
      if (copied !== undefined) return copied
    }
    return await this.put(sha256, bytesOf(this, pieces), { size })
  }

  /** Undefined where the storage does not do it, or did not do it right: then the bytes go through this process. */
  async #assembleByCopies(sha256: string, size: number, plan: readonly PlannedPart[]): Promise<BlobInfo | undefined> {
    // Its own place: nobody else can change what is read back and hashed.
    const key = incomingKey(randomBytes(18).toString('base64url'))
    try {
      await this.#parts.join(key, plan, { keyOf: blobKey, read: (part) => bytesOf(this, part) })
      return await this.#takeOver(key, sha256, size)
    } catch (error) {
      if (!(error instanceof ServerError)) throw error
      const status = Number(error.details['status'])
      if (!NOT_OFFERED.includes(status) && error.code !== 'UP_HASH' && error.code !== 'UP_LENGTH') throw error
      if (status === 405 || status === 501) this.#copiesParts = false
      return undefined
    } finally {
      await this.#s3.send({ method: 'DELETE', key, accept: NOT_OFFERED }).catch(() => undefined)
    }
  }

  async delete(sha256: string): Promise<void> {
    await this.#s3.send({ method: 'DELETE', key: blobKey(sha256), accept: [404] })
  }

  async quarantine(sha256: string): Promise<void> {
    await this.#copy(blobKey(sha256), `quarantine/${sha256}`, null)
    await this.delete(sha256)
  }

  async *list(): AsyncIterable<BlobInfo> {
    for await (const { key, size, writtenMs } of this.#listKeys('files/')) {
      const sha256 = key.slice(key.lastIndexOf('/') + 1)
      if (isBlobName(sha256)) yield { sha256, size, writtenMs }
    }
  }

  async append(uploadId: string, offset: number, source: ByteStream, maxBytes: number): Promise<number> {
    const prefix = uploadPrefix(uploadId)
    for await (const { key } of this.#listKeys(prefix)) {
      if (segmentStart(key) >= offset) await this.#s3.send({ method: 'DELETE', key, accept: [404] })
    }
    let position = offset
    for await (const part of pieces(limited(source, offset, maxBytes), PART_BYTES)) {
      await this.#s3.send({ method: 'PUT', key: `${prefix}${String(position).padStart(16, '0')}`, body: part })
      position += part.length
    }
    return position
  }

  async finish(uploadId: string, sha256: string, size: number): Promise<BlobInfo> {
    try {
      const info = await this.put(sha256, this.#segments(uploadId), { size })
      await this.discard(uploadId)
      return info
    } catch (error) {
      if (error instanceof ServerError && (error.code === 'UP_HASH' || error.code === 'UP_LENGTH'))
        await this.discard(uploadId)
      throw error
    }
  }

  async *#segments(uploadId: string): ByteStream {
    for await (const { key } of this.#listKeys(uploadPrefix(uploadId))) {
      yield* bodyOf(await this.#s3.send({ method: 'GET', key }))
    }
  }

  async discard(uploadId: string): Promise<void> {
    for await (const { key } of this.#listKeys(uploadPrefix(uploadId)))
      await this.#s3.send({ method: 'DELETE', key, accept: [404] })
  }

  async *listUploads(): AsyncIterable<{ id: string; writtenMs: number }> {
    let last: { id: string; writtenMs: number } | undefined
    for await (const { key, writtenMs } of this.#listKeys('uploads/')) {
      const id = key.split('/')[1] ?? ''
      if (last !== undefined && last.id !== id) yield last
      last = { id, writtenMs: last?.id === id ? Math.max(last.writtenMs, writtenMs) : writtenMs }
    }
    if (last !== undefined) yield last
  }

  async presign(sha256: string, size: number): Promise<PresignedUpload> {
    blobKey(sha256)
    // Each upload has its own place: another upload cannot replace what is read back and hashed.
    const name = randomBytes(18).toString('base64url')
    const key = incomingKey(name)
    const uploadId = await this.#parts.start(key)
    // At most 10,000 parts, none below 5 MiB except the last.
    const bytes = Math.max(PART_BYTES, Math.ceil(size / 10_000))
    const count = Math.max(1, Math.ceil(size / bytes))
    const urls = Array.from({ length: count }, (_, at) =>
      this.#s3.presign('PUT', key, { partNumber: String(at + 1), uploadId }, PRESIGN_SECONDS),
    )
    return {
      uploadId: `${name}.${uploadId}`,
      partBytes: bytes,
      urls,
      expiresAt: timestamp(this.#clock() + PRESIGN_SECONDS * 1000),
    }
  }

  completePresigned(sha256: string, size: number, uploadId: string, etags: readonly string[]): Promise<BlobInfo> {
    const asked = JSON.stringify([sha256, size, uploadId])
    const running = this.#completing.get(asked)
    if (running !== undefined) return running
    const fresh = this.#complete(sha256, size, uploadId, etags).finally(() => this.#completing.delete(asked))
    this.#completing.set(asked, fresh)
    return fresh
  }

  async #complete(sha256: string, size: number, uploadId: string, etags: readonly string[]): Promise<BlobInfo> {
    const { key, id } = incomingOf(uploadId)
    if (etags.length === 0) throw new ServerError('UP_LENGTH', 'Cannot complete the upload: no part was received')
    await this.#parts.complete(key, id, etags).catch((error: unknown) => this.#refuseUnjoined(key, error))
    const info = await this.#takeOver(key, sha256, size).catch(async (error: unknown) => {
      // Wrong bytes are deleted at once; after anything else the upload may be completed again.
      if (error instanceof ServerError && (error.code === 'UP_HASH' || error.code === 'UP_LENGTH'))
        await this.#s3.send({ method: 'DELETE', key, accept: [404] })
      throw error
    })
    await this.#s3.send({ method: 'DELETE', key, accept: [404] })
    return info
  }

  /**
   * Reads an incoming object back and hashes it, since only the storage has seen its bytes; then copies it to its
   * place.
   */
  async #takeOver(key: string, sha256: string, size: number): Promise<BlobInfo> {
    const response = await this.#s3.send({ method: 'GET', key })
    for await (const part of hashed(sha256, bodyOf(response), { size })) void part
    if (size > MAX_COPY_BYTES)
      return await this.put(sha256, bodyOf(await this.#s3.send({ method: 'GET', key })), { size })
    await this.#copy(key, blobKey(sha256), response.headers.get('etag'))
    const info = await this.stat(sha256)
    if (info?.size !== size) throw new ServerError('SRV_STORAGE', `Cannot find blob ${sha256} just after it was copied`)
    return info
  }

  /** The parts may have been joined already, by a server that died afterwards: that is as good. */
  async #refuseUnjoined(key: string, error: unknown): Promise<void> {
    if (!(error instanceof ServerError)) throw error
    const { status } = await this.#s3.send({ method: 'HEAD', key, accept: [404] })
    if (status !== 404) return
    throw error.details['status'] === 404
      ? new ServerError('UP_UNKNOWN', 'There is no such upload', { cause: error })
      : error
  }

  /** Copies an object if it is still the one with this tag. */
  async #copy(from: string, to: string, etag: string | null): Promise<void> {
    const headers = {
      'x-amz-copy-source': this.#s3.pathOf(from),
      ...(etag === null ? {} : { 'x-amz-copy-source-if-match': etag }),
    }
    refuseError('copy an object', await this.#s3.text({ method: 'PUT', key: to, headers }))
  }

  async abortPresigned(uploadId: string): Promise<void> {
    const { key, id } = incomingOf(uploadId)
    await this.#parts.abort(key, id)
    await this.#s3.send({ method: 'DELETE', key, accept: [404] })
  }

  async sweep(olderThanMs: number): Promise<void> {
    // Parts have to be sent within an hour, and joined within a day.
    const limit = Math.min(olderThanMs, this.#clock() - INCOMING_LIFE_MS)
    for await (const { key, writtenMs } of this.#listKeys('incoming/')) {
      if (writtenMs < limit) await this.#s3.send({ method: 'DELETE', key, accept: [404] })
    }
    for (const { key, uploadId, begunMs } of await this.#unfinished())
      if (begunMs < limit) await this.#parts.abort(key, uploadId)
  }

  /** Multipart uploads that nobody ended: no list of objects shows them, and they use space. */
  async #unfinished(): Promise<{ key: string; uploadId: string; begunMs: number }[]> {
    const found: { key: string; uploadId: string; begunMs: number }[] = []
    for (let marker: Record<string, string> = {}; ;) {
      const response = await this.#s3.send({
        method: 'GET',
        key: '',
        query: { uploads: '', prefix: this.#s3.prefix, ...marker },
        accept: NOT_OFFERED,
      })
      const xml = await response.text()
      // Not every S3-compatible server, or key, lists them; then a lifecycle rule of the bucket removes them.
      if (!response.ok) return found
      for (const entry of xml.split('<Upload>').slice(1)) {
        const [key = ''] = xmlTexts(entry, 'Key')
        const [uploadId = ''] = xmlTexts(entry, 'UploadId')
        const begunMs = Date.parse(xmlTexts(entry, 'Initiated')[0] ?? '')
        const own = ['files/', 'incoming/'].some((folder) => key.startsWith(this.#s3.prefix + folder))
        if (own && uploadId !== '') found.push({ key: key.slice(this.#s3.prefix.length), uploadId, begunMs })
      }
      const [next] = xmlTexts(xml, 'NextKeyMarker')
      const [nextId = ''] = xmlTexts(xml, 'NextUploadIdMarker')
      if (xmlTexts(xml, 'IsTruncated')[0] !== 'true' || next === undefined) return found
      marker = { 'key-marker': next, 'upload-id-marker': nextId }
    }
  }

  async ping(): Promise<void> {
    await this.#s3.send({ method: 'HEAD', key: '' })
  }

  async close(): Promise<void> {
    // Connections belong to the fetch that was passed in.
  }

  async *#listKeys(prefix: string): AsyncIterable<Listed> {
    let token: string | undefined
    do {
      const query = {
        'list-type': '2',
        prefix: this.#s3.prefix + prefix,
        ...(token === undefined ? {} : { 'continuation-token': token }),
      }
      const xml = await this.#s3.text({ method: 'GET', key: '', query })
      for (const entry of xml.split('<Contents>').slice(1)) {
        const [key = ''] = xmlTexts(entry, 'Key')
        const [size = '0'] = xmlTexts(entry, 'Size')
        const [written = ''] = xmlTexts(entry, 'LastModified')
        yield { key: key.slice(this.#s3.prefix.length), size: Number(size), writtenMs: Date.parse(written) }
      }
      token = xmlTexts(xml, 'NextContinuationToken')[0]
    } while (token !== undefined)
  }
}

function blobKey(sha256: string): string {
  if (!isBlobName(sha256)) throw new ServerError('BLOB_NAME', 'Cannot name a blob: expected a SHA-256')
  return `files/${sha256.slice(0, 2)}/${sha256}`
}

function incomingKey(name: string): string {
  return `incoming/${name}`
}

/** The place of a direct upload and its id in the storage, from the id that {@link S3BlobStore.presign} returned. */
function incomingOf(uploadId: string): { key: string; id: string } {
  const dot = uploadId.indexOf('.')
  const name = uploadId.slice(0, Math.max(0, dot))
  if (!isUploadName(name)) throw new ServerError('UP_UNKNOWN', 'There is no such upload')
  return { key: incomingKey(name), id: uploadId.slice(dot + 1) }
}

function uploadPrefix(uploadId: string): string {
  if (!isUploadName(uploadId)) throw new ServerError('UP_UNKNOWN', 'Cannot name an upload: expected an upload id')
  return `uploads/${uploadId}/`
}

function segmentStart(key: string): number {
  return Number(key.slice(key.lastIndexOf('/') + 1))
}

async function* bodyOf(response: Response): ByteStream {
  if (response.body !== null) yield* response.body as unknown as AsyncIterable<Uint8Array>
}

/** Refuses bytes beyond an upload; when a sender breaks off, the bytes received so far count. */
async function* limited(source: ByteStream, offset: number, maxBytes: number): ByteStream {
  let position = offset
  try {
    for await (const part of source) {
      position += part.length
      if (position > maxBytes)
        throw new ServerError('UP_LENGTH', `Cannot continue an upload beyond its ${maxBytes} bytes`)
      yield part
    }
  } catch (error) {
    if (error instanceof ServerError) throw error
  }
}

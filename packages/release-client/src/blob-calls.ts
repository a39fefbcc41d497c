import type { BlobView } from './api.ts'
import { assembleBlob } from './assemble-blob.ts'
import type { BlobPiece } from './assemble-blob.ts'
import type { BlobSource, UploadOptions } from './blob-source.ts'
import type { HttpCaller } from './http.ts'
import { API_LIMITS } from './limits.ts'
import { OperatorCalls } from './operator-calls.ts'
import { ProblemError } from './problem-error.ts'
import { createUpload, uploadBlob } from './upload.ts'

/** Most bytes of a blob whose upload costs waiting and not bytes. */
const SMALL_BYTES = 64 * 1024
/** Most small blobs in the place of one large one. */
const SMALL_AT_ONCE = 8

/** What is uploaded in one turn: one blob, or several small ones that follow each other. */
function* turnsOf(sources: readonly BlobSource[]): Generator<BlobSource[]> {
  let small: BlobSource[] = []
  for (const source of sources) {
    if (source.size > SMALL_BYTES) yield [source]
    else if (small.push(source) === SMALL_AT_ONCE) {
      yield small
      small = []
    }
  }
  if (small.length > 0) yield small
}

/** The calls that bring blobs to the server. */
export class BlobCalls extends OperatorCalls {
  readonly #http: HttpCaller

  /** @param http - Sends the calls. */
  constructor(http: HttpCaller) {
    super(http)
    this.#http = http
  }

  /** Which of the blobs the server lacks; any number, sent in batches. */
  async missingBlobs(hashes: readonly string[]): Promise<string[]> {
    const missing = new Set<string>()
    for (let start = 0; start < hashes.length; start += API_LIMITS.maxMissingQuery) {
      const answer = await this.#http.json<{ missing: string[] }>({
        method: 'POST',
        path: '/v1/blobs:missing',
        what: 'ask for missing blobs',
        json: { sha256: hashes.slice(start, start + API_LIMITS.maxMissingQuery) },
      })
      for (const hash of answer.missing) missing.add(hash)
    }
    // Only what was asked about: nothing else is ever sent.
    return [...new Set(hashes)].filter((hash) => missing.has(hash))
  }

  /** Uploads one blob: in one request when small, otherwise resumable. */
  async uploadBlob(source: BlobSource, options: UploadOptions = {}): Promise<void> {
    await uploadBlob(this.#http, source, options)
  }

  /**
   * Makes the server put a blob together from pieces of blobs it has, so that only what is new is sent: as a blob of
   * its own, before. Pieces are in order and without gaps; the hash of the result decides. May be repeated.
   *
   * @returns whether the server did it: false when it does not know this call, or there are more pieces or sources than
   *   {@link API_LIMITS} allows. Then upload the whole blob.
   * @throws ProblemError `BLOB_UNKNOWN` when the server lacks a source, `UP_HASH` and `UP_LENGTH` when pieces are
   *   wrong.
   */
  assembleBlob(
    target: Pick<BlobSource, 'sha256' | 'size'>,
    pieces: readonly BlobPiece[],
    options: Pick<UploadOptions, 'signal'> = {},
  ): Promise<boolean> {
    return assembleBlob(this.#http, target, pieces, options)
  }

  /**
   * Lets the server delete, at once, blobs that were only sent to be pieces of others. It keeps those that another
   * caller uploaded, or that anybody asked for or published since.
   *
   * @returns Those that are gone; none when the server does not know this call.
   */
  async freeBlobs(hashes: readonly string[]): Promise<string[]> {
    try {
      const { freed } = await this.#http.json<{ freed: string[] }>({
        method: 'POST',
        path: '/v1/blobs:free',
        what: 'free blobs',
        json: { sha256: hashes },
      })
      return freed
    } catch (error) {
      if (error instanceof ProblemError && (error.status === 404 || error.status === 405)) return []
      throw error
    }
  }

  /** Starts a resumable upload, or finds the unfinished one of this token; returns its path, for other tus clients. */
  startUpload(source: Pick<BlobSource, 'sha256' | 'size'>, options: UploadOptions = {}): Promise<string> {
    return createUpload(this.#http, source, options)
  }

  /**
   * Uploads those of these blobs that the server lacks, several at once; returns how many blobs and bytes were sent.
   */
  async uploadMissing(
    sources: Iterable<BlobSource>,
    options: UploadOptions = {},
  ): Promise<{ blobs: number; bytes: number; present: number }> {
    const byHash = new Map([...sources].map((source) => [source.sha256, source]))
    const missing = await this.missingBlobs([...byHash.keys()])
    const turns = turnsOf(missing.map((hash) => byHash.get(hash)).filter((source) => source !== undefined))
    let bytes = 0
    const work = async (): Promise<void> => {
      for (const turn of turns) {
        options.signal?.throwIfAborted()
        await Promise.all(turn.map((source) => uploadBlob(this.#http, source, options)))
        for (const { size } of turn) bytes += size
      }
    }
    await Promise.all(Array.from({ length: Math.max(1, options.concurrency ?? 4) }, work))
    return { blobs: missing.length, bytes, present: byHash.size - missing.length }
  }

  /** What is known about one blob; `undefined` when the server lacks it. */
  async getBlob(hash: string): Promise<BlobView | undefined> {
    return this.#http.find({
      method: 'GET',
      path: `/v1/blobs/${encodeURIComponent(hash)}`,
      what: `look up blob ${hash}`,
    })
  }
}

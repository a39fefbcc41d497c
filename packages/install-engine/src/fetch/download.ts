import { createHash, randomBytes } from 'node:crypto'
import { join } from 'node:path'
import type { FileSystem } from '@keyturn/primitives/node'
import { writeAll } from '@keyturn/primitives/node'
import { LauncherError } from '../errors.ts'
import { inParallel, look, removeFile, sameIdentity } from '../disk/disk.ts'
import type { FileIdentity } from '../disk/disk.ts'
import type { HttpAnswer } from './http.ts'
import type { Chunk, PartFile } from './part-file.ts'
import type { ProgressMeter } from '../progress.ts'
import type { RateLimit } from './rate-limit.ts'
import { rangeError, sizeError, startOfPart } from './range-answer.ts'
import { planRanges } from './ranges.ts'
import type { RangeRequest } from './ranges.ts'
import type { Gate } from './gate.ts'
import { changeHandleMode } from '../disk/modes.ts'
import { modeOf, settle, settleAt } from '../disk/settled-file.ts'
import type { WantedFile } from '../disk/settled-file.ts'
import { statusError } from './source.ts'
import type { Source } from './source.ts'

/** What downloads share. */
export interface DownloadContext {
  readonly fs: FileSystem
  /** The staging folder. */
  readonly staging: string
  readonly source: Source
  readonly limit: RateLimit
  readonly gate: Gate
  readonly meter: ProgressMeter
  readonly monotonic: () => number
  readonly signal: AbortSignal
  /** Staged files whose hash was taken, by their place below `.updates`. */
  readonly verified?: Map<string, FileIdentity> | undefined
}

/** Blobs up to this size are held in memory while they come. */
export const SMALL_BLOB_BYTES = 256 * 1024

/** The address of a blob on every server; the hash is the only part that comes from a document. */
export function blobPath(sha256: string): string {
  return `files/${sha256.slice(0, 2)}/${sha256}`
}

/** A whole small blob, checked; wrong bytes are asked for once more, from elsewhere first. */
export async function fetchSmallBlob(context: DownloadContext, blob: WantedFile): Promise<Uint8Array> {
  const liars = new Set<string>()
  try {
    return await fetchSmallBlobOnce(context, blob, liars)
  } catch (error) {
    if (!(error instanceof LauncherError) || error.code !== 'LA_HASH') throw error
    context.meter.wasted(blob.size)
    return await fetchSmallBlobOnce(context, blob, liars)
  }
}

/** @param liars - Hosts to leave out; gets the one that sent wrong bytes. */
async function fetchSmallBlobOnce(context: DownloadContext, blob: WantedFile, liars: Set<string>): Promise<Uint8Array> {
  const path = blobPath(blob.sha256)
  const headers = liars.size === 0 ? {} : UNCACHED
  return await context.gate.run(() =>
    context.source.fetch(
      path,
      async (answer, base) => {
        if (answer.status !== 200) throw statusError(answer.status, path)
        const bytes = new Uint8Array(blob.size)
        let length = 0
        for await (const part of answer.body) {
          context.meter.did({ download: part.length })
          await context.limit.take(part.length, context.signal)
          if (length + part.length > blob.size) throw sizeError(path, blob.size, length + part.length)
          bytes.set(part, length)
          length += part.length
        }
        if (length < blob.size) {
          context.meter.wasted(length)
          throw sizeError(path, blob.size, length)
        }
        if (createHash('sha256').update(bytes).digest('hex') !== blob.sha256) {
          liars.add(base)
          throw hashError(path, blob)
        }
        return bytes
      },
      { signal: context.signal, mirrors: true, headers: () => headers, except: new Set(liars) },
    ),
  )
}

/** The error for bytes that are not those of a blob. */
export function hashError(path: string, blob: WantedFile): LauncherError {
  return new LauncherError('LA_HASH', `Cannot fetch "${path}": its bytes are not the ones the manifest names`, {
    details: { sha256: blob.sha256 },
  })
}

/** Fetches a small blob straight into staging. */
export async function stageSmallBlob(context: DownloadContext, blob: WantedFile): Promise<FileIdentity> {
  const bytes = blob.size === 0 ? new Uint8Array(0) : await fetchSmallBlob(context, blob)
  return await stageBytes(context, blob, bytes)
}

async function stageBytes(context: DownloadContext, blob: WantedFile, bytes: Uint8Array): Promise<FileIdentity> {
  const temporary = join(context.staging, `.${blob.sha256}.${randomBytes(6).toString('hex')}.tmp`)
  const staged = join(context.staging, blob.sha256)
  const handle = await context.fs.open(temporary, 'wx+', 0o600)
  try {
    await writeAll(handle, bytes)
    const mode = modeOf(blob)
    if (mode !== undefined) await changeHandleMode(handle, mode)
    await handle.sync()
    await context.fs.rename(temporary, staged)
    const identity = await settle(handle, blob)
    if (identity === undefined)
      throw new LauncherError('LA_STAGE_TAMPERED', `Cannot stage "${staged}": another program wrote to it`)
    context.meter.did({ disk: bytes.length })
    return identity
  } catch (error) {
    await removeFile(context.fs, temporary).catch(() => undefined) // the first error is the one to report
    throw error
  } finally {
    await handle.close()
  }
}

/** The pieces as they come in one answer; keeps at most one piece in memory. */
class PieceWriter {
  readonly #part: PartFile
  #index: number
  #buffer: Uint8Array | undefined
  #filled = 0

  constructor(part: PartFile, first: number) {
    this.#part = part
    this.#index = first
  }

  /** Takes the bytes that lie at `position`; says how many bytes of wanted pieces became durable-to-be. */
  async take(position: number, bytes: Uint8Array): Promise<void> {
    let offset = 0
    while (offset < bytes.length) {
      const chunk = this.#part.chunks[this.#index]
      if (chunk === undefined) return
      const inChunk = position + offset - chunk.offset
      const count = Math.min(chunk.length - inChunk, bytes.length - offset)
      if (!this.#part.has(this.#index)) {
        this.#buffer ??= new Uint8Array(chunk.length)
        this.#buffer.set(bytes.subarray(offset, offset + count), inChunk)
        this.#filled += count
      }
      offset += count
      if (inChunk + count === chunk.length) await this.#complete(chunk)
    }
  }

  async #complete(chunk: Chunk): Promise<void> {
    const bytes = this.#buffer
    const filled = this.#filled
    this.#buffer = undefined
    this.#filled = 0
    const index = this.#index++
    if (bytes === undefined || filled !== chunk.length) return
    if (!(await this.#part.put(index, bytes))) {
      throw new LauncherError(
        'LA_HASH',
        `Cannot fetch "${blobPath(this.#part.sha256)}": the piece at byte ${chunk.offset} is not the one its index ` +
          'names',
        {
          details: { sha256: this.#part.sha256, offset: chunk.offset },
        },
      )
    }
  }
}

/** Asks caches on the way for the bytes of the server itself: theirs were wrong. */
const UNCACHED = { 'cache-control': 'no-cache' }

async function readInto(
  context: DownloadContext,
  answer: HttpAnswer,
  writer: PieceWriter,
  span: { path: string; start: number; end: number },
): Promise<void> {
  const { path, start, end } = span
  let position = start
  for await (const bytes of answer.body) {
    context.meter.did({ download: bytes.length })
    await context.limit.take(bytes.length, context.signal)
    if (position + bytes.length > end) throw sizeError(path, end - start, position + bytes.length - start)
    await writer.take(position, bytes)
    position += bytes.length
  }
  if (position < end) throw sizeError(path, end - start, position - start)
}

/** The download of one file in pieces; whole where nothing is kept, or where the server does not serve parts. */
export class PartDownload {
  readonly #context: DownloadContext
  readonly #part: PartFile
  readonly #path: string
  readonly #except: ReadonlySet<string>
  #whole: Promise<void> | undefined
  /** The hosts that sent bytes of it. */
  readonly senders = new Set<string>()

  /** @param except - Hosts that sent wrong bytes of it. */
  constructor(context: DownloadContext, part: PartFile, except: ReadonlySet<string>) {
    this.#context = context
    this.#part = part
    this.#except = except
    this.#path = blobPath(part.sha256)
  }

  /** Fetches the pieces that are missing; the requests of all files share one gate. */
  async run(): Promise<void> {
    const { gate } = this.#context
    const { chunks } = this.#part
    const missing = this.#part.missing()
    if (missing.length === chunks.length) {
      const all = { first: 0, last: chunks.length - 1, start: 0, end: this.#part.size }
      return await gate.run(() => this.#fetchRange(all))
    }
    // Without piece hashes order is all that makes a resume cheap: one request, from the first missing byte to the end.
    const longest = chunks[0]?.sha256 === undefined ? Number.MAX_SAFE_INTEGER : undefined
    const [first, ...others] = planRanges(chunks, missing, longest)
    if (first === undefined) return
    await gate.run(() => this.#fetchRange(first)) // alone: a server that ignores ranges sends everything here
    await inParallel(others, gate.width, async (request) => {
      await gate.run(() => this.#fetchRange(request))
    })
  }

  #firstMissing({ first, last }: Pick<RangeRequest, 'first' | 'last'>): number {
    for (let index = first; index <= last; index++) if (!this.#part.has(index)) return index
    return -1
  }

  async #fetchRange(request: RangeRequest): Promise<void> {
    const startAt = (): number => (this.#part.chunks[this.#firstMissing(request)] as Chunk).offset
    try {
      await this.#fetch(request, {
        // What comes whole is asked for without a range, which some servers and proxies refuse.
        headers: () => {
          const isWhole = startAt() === 0 && request.end === this.#part.size
          return isWhole ? {} : { range: `bytes=${startAt()}-${request.end - 1}` }
        },
        startOf: (answer) =>
          startOfPart(answer, this.#path, { start: startAt(), end: request.end, size: this.#part.size }),
      })
    } catch (error) {
      if (!(error instanceof LauncherError) || error.code !== 'LA_RANGE') throw error
      await this.#fetchWhole()
    }
  }

  /** Without a range, and once for all requests of the file. */
  async #fetchWhole(): Promise<void> {
    const all = { first: 0, last: this.#part.chunks.length - 1, end: this.#part.size }
    this.#whole ??= this.#fetch(all, {
      headers: () => ({}),
      startOf: (answer) => {
        if (answer.status === 206 || answer.status === 416)
          throw rangeError(this.#path, `the server answers ${answer.status} although the whole file was requested`)
        if (answer.status !== 200) throw statusError(answer.status, this.#path)
        return startOfPart(answer, this.#path, { start: 0, end: all.end, size: this.#part.size })
      },
    })
    await this.#whole
  }

  async #fetch(
    request: Pick<RangeRequest, 'first' | 'last' | 'end'>,
    how: { headers: () => Record<string, string>; startOf: (answer: HttpAnswer) => number },
  ): Promise<void> {
    let known = this.#firstMissing(request)
    if (known === -1) return
    // A try that brought at least one piece does not count as a failure.
    const progressed = (): boolean => {
      const before = known
      known = this.#firstMissing(request)
      return known !== before
    }
    const { signal } = this.#context
    let last = ''
    const use = async (answer: HttpAnswer, base: string): Promise<void> => {
      last = base
      this.senders.add(base)
      await this.#take(answer, request, how.startOf(answer))
    }
    const uncached = (): Record<string, string> => ({ ...how.headers(), ...UNCACHED })
    const headers = this.#except.size === 0 ? how.headers : uncached
    const options = { signal, mirrors: true, except: this.#except, headers, progressed }
    try {
      await this.#context.source.fetch(this.#path, use, options)
    } catch (error) {
      // A bit that flipped on the way: that piece once more, from elsewhere first, and what came before it is kept.
      if (!isPieceError(error)) throw error
      const except = new Set([...this.#except, last])
      await this.#context.source.fetch(this.#path, use, { ...options, headers: uncached, except })
    }
  }

  async #take(answer: HttpAnswer, request: Pick<RangeRequest, 'first' | 'last' | 'end'>, start: number): Promise<void> {
    const writer = new PieceWriter(this.#part, start === 0 ? 0 : this.#firstMissing(request))
    const end = answer.status === 200 ? this.#part.size : request.end
    try {
      await readInto(this.#context, answer, writer, { path: this.#path, start, end })
    } catch (error) {
      if (this.#firstMissing(request) !== -1) throw error
      // Every piece came and fits its hash, or is verified with the whole: how the answer ended does not matter.
      this.#context.signal.throwIfAborted()
    }
  }
}

function isPieceError(error: unknown): boolean {
  return error instanceof LauncherError && error.code === 'LA_HASH' && error.details['offset'] !== undefined
}

/** Whether staging holds the blob already; anything else under its name is removed. */
export async function findStaged(context: DownloadContext, blob: WantedFile): Promise<FileIdentity | undefined> {
  const staged = join(context.staging, blob.sha256)
  const found = await look(context.fs, staged)
  if (found.kind === 'nothing') return undefined
  const known = context.verified?.get(`staging/${blob.sha256}`)
  if (known !== undefined && found.kind === 'file' && sameIdentity(known, found.identity)) return known
  const identity = found.kind === 'file' ? await settleAt(context, staged, blob) : undefined
  if (identity === undefined) await context.fs.rm(staged, { recursive: true, force: true })
  return identity
}

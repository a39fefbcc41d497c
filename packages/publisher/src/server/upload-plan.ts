import { createHash } from 'node:crypto'
import { MIN_INDEXED_BYTES, planDelta } from '@keyturn/manifest/delta'
import type { ManifestFile } from '@keyturn/manifest'
import type { ChunkIndex, DeltaPlan } from '@keyturn/manifest/delta'
import { API_LIMITS } from '@keyturn/release-client'
import type { BlobPiece, BlobSource, ReleaseServerClient } from '@keyturn/release-client'
import type { HomeSession } from '../home-session.ts'
import { chunkIndexOf } from '../records/chunk-indexes.ts'
import { releaseBlobs } from './file-blob.ts'
import type { StoredRelease } from '../records/store.ts'
import { uploadBases } from './upload-bases.ts'
import type { UploadBase } from './upload-bases.ts'

/** Bytes read at a time to hash what is new. */
const READ_BYTES = 4 * 1024 * 1024
/** Pieces are taken as they are; no gap between two of them is sent again to save a request. */
const EXACT = { mergeGapBytes: 0, maxRangeBytes: API_LIMITS.maxBlobBytes, requestCostBytes: 64 }

/** A blob that the server puts together from blobs it has and from {@link UploadPlan.fresh}. */
export interface AssembledBlob {
  readonly source: BlobSource
  readonly pieces: readonly BlobPiece[]
}

/** How a release gets to a server with as few bytes as possible. */
export interface UploadPlan {
  /** Blobs to send as they are. */
  readonly whole: readonly BlobSource[]
  readonly assembled: readonly AssembledBlob[]
  /** What is new in all assembled blobs, one after the other: a blob of its own. */
  readonly fresh?: BlobSource | undefined
  /** Blobs the server has already. */
  readonly present: number
  /** Bytes to send. */
  readonly bytes: number
}

/** New bytes of one blob, and where they are among all new bytes. */
interface FreshRange {
  readonly source: BlobSource
  readonly offset: number
  readonly length: number
  readonly place: number
}

interface Draft {
  readonly source: BlobSource
  readonly plan: DeltaPlan
  /** SHA-256 of each seed of the plan. */
  readonly seeds: readonly string[]
}

/**
 * Plans the upload of a release: which blobs the server lacks, and which of those it can put together from blobs of
 * earlier releases and a few new bytes.
 *
 * @param without - Paths of files that stay here.
 */
export async function planUpload(
  home: HomeSession,
  client: ReleaseServerClient,
  release: StoredRelease,
  without: ReadonlySet<string> = new Set(),
): Promise<UploadPlan> {
  const blobs = new Map((await releaseBlobs(release, without)).map((blob) => [blob.sha256, blob]))
  const missing = new Set(await client.missingBlobs([...blobs.keys()]))
  const lacking = [...blobs.values()].filter(({ sha256 }) => missing.has(sha256))
  const files = new Map(release.manifest.files.map((file) => [file.sha256, file]))
  const large = lacking.filter(({ sha256, size }) => size >= MIN_INDEXED_BYTES && files.get(sha256)?.index)
  const drafts: Draft[] = []
  const bases = large.length === 0 ? [] : await uploadBases(home, client, release)
  for (const source of large) {
    const draft = await draftAssembly(client, {
      source,
      file: files.get(source.sha256) as ManifestFile,
      release,
      bases,
    })
    if (draft !== undefined) drafts.push(draft)
  }
  const { assembled, fresh } = await joinFresh(drafts)
  const isAssembled = new Set(assembled.map(({ source }) => source.sha256))
  const whole = lacking.filter(({ sha256 }) => !isAssembled.has(sha256))
  const bytes = whole.reduce((sum, { size }) => sum + size, fresh?.size ?? 0)
  return { whole, assembled, fresh, present: blobs.size - lacking.length, bytes }
}

async function draftAssembly(
  client: ReleaseServerClient,
  place: {
    readonly source: BlobSource
    readonly file: ManifestFile
    readonly release: StoredRelease
    readonly bases: readonly UploadBase[]
  },
): Promise<Draft | undefined> {
  const { source, file, release, bases } = place
  const target = await chunkIndexOf(release, file)
  if (target === undefined) return undefined
  // A name tells best what a file was made from.
  const namesakes = bases.flatMap(({ manifest, indexOf }) =>
    manifest.files.filter(({ path, index }) => path === file.path && index).map((old) => ({ old, indexOf })),
  )
  const gone = new Set(await client.missingBlobs(namesakes.map(({ old }) => old.sha256)))
  const seeds: { sha256: string; index: ChunkIndex }[] = []
  for (const { old, indexOf } of namesakes) {
    const index = gone.has(old.sha256) ? undefined : await indexOf(old).catch(() => undefined)
    if (index !== undefined) seeds.push({ sha256: old.sha256, index })
  }
  const plan = planDelta(target, seeds, EXACT)
  const isTooFine = plan.copies.length + plan.ranges.length > API_LIMITS.maxAssemblyPieces
  if (plan.whole || isTooFine) return undefined
  return { source, plan, seeds: seeds.map(({ sha256 }) => sha256) }
}

/** One blob for the new bytes of all drafts: it can be resumed like any other, however many files they belong to. */
async function joinFresh(drafts: readonly Draft[]): Promise<Pick<UploadPlan, 'assembled' | 'fresh'>> {
  const ranges: FreshRange[] = []
  let place = 0
  for (const { source, plan } of drafts) {
    for (const { offset, length } of plan.ranges) {
      ranges.push({ source, offset, length, place })
      place += length
    }
  }
  const fresh = place === 0 ? undefined : await freshBlob(ranges, place)
  const assembled = drafts.map(({ source, plan, seeds }) => {
    const copied = plan.copies.map(({ seed, sourceOffset, offset, length }) => ({
      offset,
      piece: { sha256: seeds[seed] as string, start: sourceOffset, length },
    }))
    const added = ranges
      .filter((range) => range.source === source)
      .map(({ offset, length, place: start }) => ({ offset, piece: { sha256: fresh?.sha256 ?? '', start, length } }))
    const pieces = [...copied, ...added].toSorted((a, b) => a.offset - b.offset).map(({ piece }) => piece)
    return { source, pieces }
  })
  return { assembled, fresh }
}

async function freshBlob(ranges: readonly FreshRange[], size: number): Promise<BlobSource> {
  const read = async (offset: number, length: number): Promise<Uint8Array> => {
    const bytes = new Uint8Array(Math.min(length, size - offset))
    for (const range of ranges) {
      const from = Math.max(offset, range.place)
      const to = Math.min(offset + bytes.length, range.place + range.length)
      if (from < to) bytes.set(await range.source.read(range.offset + from - range.place, to - from), from - offset)
    }
    return bytes
  }
  const hash = createHash('sha256')
  for (let offset = 0; offset < size; offset += READ_BYTES) hash.update(await read(offset, READ_BYTES))
  return { sha256: hash.digest('hex'), size, read }
}

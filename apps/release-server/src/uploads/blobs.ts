import type { BlobView } from '@keyturn/release-client'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import type { ByteStream, PutOptions } from '../storage/blob-store.ts'
import { collection } from '../storage/collection.ts'
import type { RecordWriter } from '../storage/metadata-store.ts'
import { flag, nullable, numeric, object, optional, text, whole } from '../storage/shape.ts'
import { timestamp } from '../time.ts'

/** What the metadata store keeps about a blob. */
export interface StoredBlob {
  readonly size: number
  readonly created_ms: number
  /** Last time somebody uploaded it, asked for it or published it: the lease that garbage collection respects. */
  readonly touched_ms: number
  /** When garbage collection found that nobody needs it; null while somebody does. */
  readonly marked_ms: number | null
  /**
   * Who uploaded it, as long as nobody asked for it or published it: that one alone may have it freed before garbage
   * collection comes.
   */
  readonly loose_by?: string | undefined
  /** Being deleted: counts as absent until somebody uploads it again. */
  readonly going?: boolean | undefined
}

/** Blobs by their SHA-256. */
export const blobs = collection(
  'blobs',
  object<StoredBlob>({
    size: whole,
    created_ms: numeric,
    touched_ms: numeric,
    marked_ms: nullable(numeric),
    loose_by: optional(text),
    going: optional(flag),
  }),
)

/** Lock of every transaction that decides what is stored. */
export const BLOBS_LOCK = 'blobs'

/** What somebody asks for a blob for. */
export interface BlobUse {
  /** Only for the bytes of another blob: its uploader may still have it freed. */
  readonly asSource?: boolean | undefined
}

/** How exact `touched_ms` is. */
const TOUCH_STEP_MS = 60 * 60_000

/** Which of the blobs the server lacks. Those it has get a fresh lease, so that they outlive the publish to come. */
export async function missingBlobs(
  context: ServerContext,
  hashes: readonly string[],
  use: BlobUse = {},
): Promise<string[]> {
  const found = (await blobs.getMany(context.metadata, hashes)).filter(({ value }) => value.going !== true)
  const present = new Set(found.map(({ key }) => key))
  const now = context.clock()
  const stale = found.filter(({ value }) => needsTouch(value, now, use)).map(({ key }) => key)
  if (stale.length > 0) {
    await context.metadata.transaction([BLOBS_LOCK], async (records) => {
      // Read again: garbage collection may have taken some in between.
      for (const key of await touchBlobs(records, stale, now, use)) present.delete(key)
    })
  }
  return hashes.filter((hash) => !present.has(hash))
}

function needsTouch(blob: StoredBlob, now: number, { asSource = false }: BlobUse): boolean {
  const isClaimed = blob.loose_by !== undefined && !asSource
  return blob.marked_ms !== null || now - blob.touched_ms > TOUCH_STEP_MS || isClaimed
}

/**
 * Renews leases; returns those of the hashes that are not stored (any more). The transaction must hold {@link
 * BLOBS_LOCK}.
 */
export async function touchBlobs(
  records: RecordWriter,
  hashes: readonly string[],
  now: number,
  use: BlobUse = {},
): Promise<string[]> {
  const found = (await blobs.getMany(records, hashes)).filter(({ value }) => value.going !== true)
  const stale = found.filter(({ value }) => needsTouch(value, now, use))
  await blobs.put(
    records,
    ...stale.map(({ key, value: { loose_by: looseBy, ...value } }) => {
      const loose = use.asSource === true && looseBy !== undefined ? { loose_by: looseBy } : {}
      return { key, value: { ...value, ...loose, touched_ms: now, marked_ms: null } }
    }),
  )
  const present = new Set(found.map(({ key }) => key))
  return hashes.filter((hash) => !present.has(hash))
}

/** Blobs whose bytes are durable and whose records wait for the next transaction, for each server. */
const waiting = new WeakMap<ServerContext, { readonly sizes: Map<string, Written>; readonly done: Promise<void> }>()

interface Written {
  readonly size: number
  readonly by: string | undefined
}

/**
 * Records that a blob is stored, once its bytes are durable. Uploads that end at about the same time share one durable
 * write.
 *
 * @param by - Who uploaded it; may have it freed. Undefined for what the server made or needs itself.
 */
export function recordBlob(context: ServerContext, sha256: string, size: number, by?: string): Promise<void> {
  const open = waiting.get(context)
  if (open !== undefined) {
    // Two who upload the same: neither may have it freed.
    open.sizes.set(sha256, { size, by: open.sizes.has(sha256) ? undefined : by })
    return open.done
  }
  const sizes = new Map([[sha256, { size, by }]])
  const done = new Promise((resolve) => setTimeout(resolve, 1)).then(() => {
    waiting.delete(context)
    return writeRecords(context, sizes)
  })
  waiting.set(context, { sizes, done })
  return done
}

async function writeRecords(context: ServerContext, sizes: ReadonlyMap<string, Written>): Promise<void> {
  const now = context.clock()
  await context.metadata.transaction([BLOBS_LOCK], async (records) => {
    const old = new Map((await blobs.getMany(records, [...sizes.keys()])).map(({ key, value }) => [key, value]))
    for (const [sha256, { size, by }] of sizes) {
      const before = old.get(sha256)
      // Garbage collection deletes under this lock: what it took between our write and now has to be sent again.
      if (before === undefined || before.going === true) await requireBytes(context, sha256)
      const isNew = before === undefined || before.going === true
      const loose = isNew && by !== undefined ? { loose_by: by } : {}
      await blobs.put(records, {
        key: sha256,
        value: { size, created_ms: before?.created_ms ?? now, touched_ms: now, marked_ms: null, ...loose },
      })
    }
  })
}

async function requireBytes(context: ServerContext, sha256: string): Promise<void> {
  if ((await context.blobs.stat(sha256)) === undefined)
    throw new ServerError('SRV_CONFLICT', `Blob ${sha256} was removed while it was stored`)
}

/** Stores a blob, hashed on the way; returns whether it was new. A blob that is stored is not written again. */
export async function storeBlob(
  context: ServerContext,
  sha256: string,
  source: ByteStream,
  options: PutOptions & { readonly by?: string | undefined },
): Promise<{ created: boolean; size: number }> {
  const present = await storedSize(context, sha256)
  if (present !== undefined) {
    if (options.size !== undefined && present !== options.size) {
      throw new ServerError(
        'SRV_CONFLICT',
        `Cannot store blob ${sha256}: ${options.size} bytes were announced, the stored blob has ${present}`,
      )
    }
    return { created: false, size: present }
  }
  const { size } = await context.blobs.put(sha256, source, options)
  await recordBlob(context, sha256, size, options.by)
  return { created: true, size }
}

/** Size of a blob that is stored and may be relied on, its lease renewed; undefined for any other. */
export async function storedSize(
  context: ServerContext,
  sha256: string,
  use: BlobUse = {},
): Promise<number | undefined> {
  const [missing] = await missingBlobs(context, [sha256], use)
  return missing === undefined ? (await context.blobs.stat(sha256))?.size : undefined
}

/** What is known about a blob; `BLOB_UNKNOWN` when it is not stored. */
export async function viewBlob(context: ServerContext, sha256: string): Promise<BlobView> {
  const found = await blobs.get(context.metadata, sha256)
  if (found === undefined) throw new ServerError('BLOB_UNKNOWN', `There is no blob ${sha256}`)
  return { sha256, size: found.size, created_at: timestamp(found.created_ms), storage: context.blobs.kind }
}

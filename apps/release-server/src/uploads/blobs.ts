import { timestamp } from '../time.ts'
import type { JsonObject } from '@keyturn/primitives'
import type { BlobView } from '@keyturn/release-client'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import type { ByteStream, PutOptions } from '../storage/blob-store.ts'
import type { RecordWriter } from '../storage/metadata-store.ts'

/** What the metadata store keeps of a blob. */
export interface StoredBlob {
  readonly size: number
  readonly created_ms: number
  /** Last time somebody uploaded it, asked for it or published it: the lease that garbage collection respects. */
  readonly touched_ms: number
  /** When garbage collection found nobody who needs it; null while somebody does. */
  readonly marked_ms: number | null
  /** Being deleted: counts as absent until somebody uploads it again. */
  readonly going?: boolean
}

/** How exact `touched_ms` is. */
const touchStepMs = 60 * 60_000

/** Reads what is stored of a blob. */
export function storedBlob(value: unknown): StoredBlob {
  return value as StoredBlob
}

/** Which of the blobs the server lacks. Those it has get a fresh lease, so that they outlive the publish to come. */
export async function missingBlobs(context: ServerContext, hashes: readonly string[]): Promise<string[]> {
  const found = (await context.metadata.getMany('blobs', hashes)).filter(
    ({ value }) => storedBlob(value).going !== true,
  )
  const present = new Set(found.map((record) => record.key))
  const now = context.clock()
  const stale = found.filter(({ value }) => needsTouch(storedBlob(value), now)).map((record) => record.key)
  if (stale.length > 0) {
    await context.metadata.transaction(['blobs'], async (records) => {
      // Read again: garbage collection may have taken some in between.
      for (const key of await touchBlobs(records, stale, now)) present.delete(key)
    })
  }
  return hashes.filter((hash) => !present.has(hash))
}

function needsTouch(blob: StoredBlob, now: number): boolean {
  return blob.marked_ms !== null || now - blob.touched_ms > touchStepMs
}

/** Renews leases; gives those of the hashes that are not there (any more). The transaction must hold `blobs`. */
export async function touchBlobs(records: RecordWriter, hashes: readonly string[], now: number): Promise<string[]> {
  const found = (await records.getMany('blobs', hashes)).filter(({ value }) => storedBlob(value).going !== true)
  const stale = found.filter(({ value }) => needsTouch(storedBlob(value), now))
  await records.put(
    'blobs',
    ...stale.map(({ key, value }) => ({
      key,
      value: { ...storedBlob(value), touched_ms: now, marked_ms: null } as unknown as JsonObject,
    })),
  )
  const present = new Set(found.map((record) => record.key))
  return hashes.filter((hash) => !present.has(hash))
}

/** Blobs whose bytes are durable and whose records wait for the next transaction, per server. */
const waiting = new WeakMap<ServerContext, { size: Map<string, number>; done: Promise<void> }>()

/**
 * Remembers that a blob is there, once its bytes are durable. Uploads that end at about the same time share one durable
 * write.
 */
export function recordBlob(context: ServerContext, sha256: string, size: number): Promise<void> {
  const open = waiting.get(context)
  if (open !== undefined) {
    open.size.set(sha256, size)
    return open.done
  }
  const sizes = new Map([[sha256, size]])
  const done = new Promise((resolve) => setTimeout(resolve, 1)).then(() => {
    waiting.delete(context)
    return writeRecords(context, sizes)
  })
  waiting.set(context, { size: sizes, done })
  return done
}

async function writeRecords(context: ServerContext, sizes: ReadonlyMap<string, number>): Promise<void> {
  const now = context.clock()
  await context.metadata.transaction(['blobs'], async (records) => {
    const old = new Map(
      (await records.getMany('blobs', [...sizes.keys()])).map(({ key, value }) => [key, storedBlob(value)]),
    )
    for (const [sha256, size] of sizes) {
      const before = old.get(sha256)
      // Garbage collection deletes under this lock: what it took between our write and now has to be sent again.
      if (before === undefined || before.going === true) await requireBytes(context, sha256)
      await records.put('blobs', {
        key: sha256,
        value: { size, created_ms: before?.created_ms ?? now, touched_ms: now, marked_ms: null },
      })
    }
  })
}

async function requireBytes(context: ServerContext, sha256: string): Promise<void> {
  if ((await context.blobs.stat(sha256)) === undefined)
    throw new ServerError('SRV_CONFLICT', `Blob ${sha256} was removed while it was stored`)
}

/** Stores a blob, hashed on the way; tells whether it was new. A blob that is there is not written again. */
export async function storeBlob(
  context: ServerContext,
  sha256: string,
  source: ByteStream,
  options: PutOptions,
): Promise<{ created: boolean; size: number }> {
  const present = await storedSize(context, sha256)
  if (present !== undefined) {
    if (options.size !== undefined && present !== options.size) {
      throw new ServerError(
        'SRV_CONFLICT',
        `Cannot store blob ${sha256}: another length was announced than the stored blob has`,
      )
    }
    return { created: false, size: present }
  }
  const { size } = await context.blobs.put(sha256, source, options)
  await recordBlob(context, sha256, size)
  return { created: true, size }
}

/** Size of a blob that is there and may be relied on, its lease renewed; undefined for any other. */
export async function storedSize(context: ServerContext, sha256: string): Promise<number | undefined> {
  const [missing] = await missingBlobs(context, [sha256])
  return missing === undefined ? (await context.blobs.stat(sha256))?.size : undefined
}

/** What is known of a blob. */
export async function viewBlob(context: ServerContext, sha256: string): Promise<BlobView> {
  const found = (await context.metadata.get('blobs', sha256))?.value
  if (found === undefined) throw new ServerError('BLOB_UNKNOWN', `There is no blob ${sha256}`)
  const { size, created_ms: createdMs } = storedBlob(found)
  return { sha256, size, created_at: timestamp(createdMs), storage: context.blobs.kind }
}

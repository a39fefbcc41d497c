import { createHash } from 'node:crypto'
import { ServerError } from '../errors.ts'
import type { BlobStore } from './blob-store.ts'
import type { MetadataStore } from './metadata-store.ts'

/** A pair of stores. */
export interface Stores {
  readonly blobs: BlobStore
  readonly metadata: MetadataStore
}

/** What a migration did. */
export interface MigrationReport {
  readonly blobs: number
  readonly blobsCopied: number
  readonly bytesCopied: number
  readonly records: number
}

/** Collections that belong to one place and are not copied: runs, sessions and unfinished uploads. */
const STAYING = new Set(['leases', 'sessions', 'uploads', 'upload-names', 'checks'])
const PAGE_SIZE = 500

/**
 * Copies everything from one pair of stores to another, of whatever kind: first the blobs, then the records, so that
 * nothing is named before it exists. It can be run again after an interruption: blobs are not copied twice, records are
 * written again, and those that the source no longer has are removed. At the end both sides are compared. Nobody should
 * write to the server during a migration.
 *
 * @throws ServerError `SRV_CONFLICT` when the target belongs to another server, `SRV_STORAGE` when the sides differ.
 */
export async function migrate(
  from: Stores,
  to: Stores,
  onProgress: (blobs: number) => void = () => undefined,
): Promise<MigrationReport> {
  await requireEmptyOrOurs(from.metadata, to.metadata)
  let blobs = 0
  let blobsCopied = 0
  let bytesCopied = 0
  for await (const { sha256, size } of from.blobs.list()) {
    blobs += 1
    const there = await to.blobs.stat(sha256)
    if (there?.size !== size) {
      // Hashed on the way: a damaged blob is reported here and not copied.
      await to.blobs.put(sha256, await from.blobs.read(sha256), { size })
      blobsCopied += 1
      bytesCopied += size
    }
    onProgress(blobs)
  }
  const records = await copyRecords(from.metadata, to.metadata)
  await compare(from.metadata, to.metadata)
  return { blobs, blobsCopied, bytesCopied, records }
}

/** The first audit entry identifies a store: a target with another one belongs to another server. */
async function requireEmptyOrOurs(from: MetadataStore, to: MetadataStore): Promise<void> {
  const [ours] = await from.list('audit', { limit: 1 })
  const [theirs] = await to.list('audit', { limit: 1 })
  if (theirs !== undefined && JSON.stringify(ours?.value) !== JSON.stringify(theirs.value)) {
    throw new ServerError('SRV_CONFLICT', 'Cannot migrate: the target holds the data of another server')
  }
}

/** Collections of either side that are copied. */
async function moving(from: MetadataStore, to: MetadataStore): Promise<string[]> {
  const names = new Set([...(await from.collections()), ...(await to.collections())])
  return [...names].filter((name) => !STAYING.has(name)).toSorted()
}

async function copyRecords(from: MetadataStore, to: MetadataStore): Promise<number> {
  let count = 0
  for (const collection of await moving(from, to)) {
    const keys = new Set<string>()
    for (let after: string | undefined; ;) {
      const page = await from.list(collection, {
        limit: PAGE_SIZE,
        bodies: true,
        after,
      })
      await to.transaction(['migrate'], (records) => records.put(collection, ...page))
      count += page.length
      for (const { key } of page) keys.add(key)
      after = page.at(-1)?.key
      if (page.length < PAGE_SIZE) break
    }
    await removeOthers(to, collection, keys)
  }
  return count
}

/** Removes from the copy what an earlier, interrupted run copied and the source has deleted since. */
async function removeOthers(to: MetadataStore, collection: string, keys: ReadonlySet<string>): Promise<void> {
  for (let after: string | undefined; ;) {
    const page = await to.list(collection, { limit: PAGE_SIZE, after })
    const others = page.map(({ key }) => key).filter((key) => !keys.has(key))
    if (others.length > 0) await to.transaction(['migrate'], (records) => records.delete(collection, ...others))
    after = page.at(-1)?.key
    if (page.length < PAGE_SIZE) return
  }
}

async function digestOf(store: MetadataStore, collection: string): Promise<string> {
  const hash = createHash('sha256')
  for (let after: string | undefined; ;) {
    const page = await store.list(collection, {
      limit: PAGE_SIZE,
      bodies: true,
      after,
    })
    for (const { key, value, body } of page)
      hash.update(JSON.stringify([key, value, body === undefined ? null : Buffer.from(body).toString('base64')]))
    after = page.at(-1)?.key
    if (page.length < PAGE_SIZE) return hash.digest('hex')
  }
}

async function compare(from: MetadataStore, to: MetadataStore): Promise<void> {
  for (const collection of await moving(from, to)) {
    if ((await digestOf(from, collection)) !== (await digestOf(to, collection))) {
      throw new ServerError(
        'SRV_STORAGE',
        `The copy differs from the original in "${collection}": did somebody write to the server during the migration?`,
      )
    }
  }
}

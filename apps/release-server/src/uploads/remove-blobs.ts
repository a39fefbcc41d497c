import type { ServerContext } from '../context.ts'
import { blobs, BLOBS_LOCK } from './blobs.ts'
import type { StoredBlob } from './blobs.ts'

/**
 * Deletes blobs in two steps, so that a crash between them loses nothing: first the record says "going" (which counts
 * as absent, so an uploader sends the bytes again), then bytes and record go, unless an uploader took the record back.
 *
 * @param isDoomed - Asked under the lock, of the record as it is then.
 * @returns Names and sizes of those that are gone.
 */
export async function removeBlobs(
  context: ServerContext,
  names: readonly string[],
  isDoomed: (blob: StoredBlob) => boolean,
): Promise<[string, number][]> {
  const going = await context.metadata.transaction([BLOBS_LOCK], async (records) => {
    const found = (await blobs.getMany(records, names)).filter(({ value }) => isDoomed(value))
    await blobs.put(records, ...found.map(({ key, value }) => ({ key, value: { ...value, going: true } })))
    return found.map(({ key }) => key)
  })
  if (going.length === 0) return []
  return context.metadata.transaction([BLOBS_LOCK], async (records) => {
    const found = (await blobs.getMany(records, going)).filter(({ value }) => value.going === true)
    for (const { key } of found) {
      await context.blobs.delete(key)
      context.tree.forget(key)
    }
    await blobs.delete(records, ...found.map(({ key }) => key))
    return found.map(({ key, value }): [string, number] => [key, value.size])
  })
}

/**
 * Frees blobs at once that were only sent to be sources of others: those that this caller uploaded, and that nobody
 * asked for, uploaded again or published since. Others are left to garbage collection.
 *
 * @returns Those that are gone.
 */
export async function freeBlobs(context: ServerContext, names: readonly string[], by: string): Promise<string[]> {
  return (await removeBlobs(context, names, ({ loose_by: looseBy }) => looseBy === by)).map(([name]) => name)
}

import { planDelta } from '@keyturn/manifest/delta'
import { chunkIndexOf } from './chunk-indexes.ts'
import type { StoredRelease } from './store.ts'

/**
 * Bytes that a player who has one release downloads for another: indexes and missing chunks where both releases have
 * an index, whole files elsewhere.
 */
export async function deltaBytes(before: StoredRelease, after: StoredRelease): Promise<number> {
  const blobs = new Set(before.manifest.files.map(({ sha256 }) => sha256))
  const byPath = new Map(before.manifest.files.map((file) => [file.path, file]))
  let bytes = 0
  for (const file of after.manifest.files) {
    if (blobs.has(file.sha256)) continue
    blobs.add(file.sha256)
    const old = byPath.get(file.path)
    const [target, seed] = [await chunkIndexOf(after, file), old && (await chunkIndexOf(before, old))]
    bytes +=
      target === undefined || seed === undefined
        ? file.size
        : planDelta(target, [{ index: seed }]).downloadBytes + (file.index?.size ?? 0)
  }
  return bytes
}

import { join } from 'node:path'
import { parseChunkIndex } from '@keyturn/manifest/delta'
import type { ManifestFile } from '@keyturn/manifest'
import type { ChunkIndex } from '@keyturn/manifest/delta'
import { readIfThere, releaseFiles } from './store.ts'
import type { StoredRelease } from './store.ts'

/** The chunk index of a file of a release of this home; undefined when the file is small, or its index is gone. */
export async function chunkIndexOf(
  { folder }: Pick<StoredRelease, 'folder'>,
  file: ManifestFile,
): Promise<ChunkIndex | undefined> {
  if (file.index === undefined) return undefined
  const bytes = await readIfThere(join(folder, releaseFiles.index, file.index.sha256))
  return bytes && parseChunkIndex(bytes, { reference: file.index, blobSha256: file.sha256, blobBytes: file.size })
}

import { open, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { BlobSource } from '@keyturn/release-client'
import { releaseFiles } from './store.ts'
import type { StoredRelease } from './store.ts'

/** A file on the disk, to be uploaded under its SHA-256. */
export function fileBlob(path: string, sha256: string, size: number): BlobSource {
  return {
    sha256,
    size,
    read: async (offset, length) => {
      const handle = await open(path, 'r')
      try {
        const bytes = new Uint8Array(Math.min(length, size - offset))
        const { bytesRead } = await handle.read(bytes, 0, bytes.length, offset)
        return bytes.subarray(0, bytesRead)
      } finally {
        await handle.close()
      }
    },
  }
}

/**
 * Everything that has to be on a server before a release can be published: its files, its launcher, its chunk indexes.
 *
 * @param without - Paths of files that stay here.
 */
export async function releaseBlobs(
  { manifest, tree, folder }: StoredRelease,
  without: ReadonlySet<string>,
): Promise<BlobSource[]> {
  const { launcher } = manifest
  const files = manifest.files.filter(({ path }) => !without.has(path))
  const indexFolder = join(folder, releaseFiles.index)
  const atHand = new Set(await readdir(indexFolder).catch(() => []))
  return [
    ...[...files, ...(launcher === undefined ? [] : [launcher])].map(({ path, sha256, size }) =>
      fileBlob(join(tree, path), sha256, size),
    ),
    ...files.flatMap(({ index }) =>
      index === undefined || !atHand.has(index.sha256)
        ? []
        : [fileBlob(join(indexFolder, index.sha256), index.sha256, index.size)],
    ),
  ]
}

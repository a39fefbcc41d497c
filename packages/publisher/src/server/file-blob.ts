import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { BlobSource } from '@keyturn/release-client'
import { releaseFiles } from '../records/store.ts'
import type { StoredRelease } from '../records/store.ts'
import { openFile } from '../tree/tree.ts'

/** A file below a folder. */
export interface BlobFile {
  /** Relative, forward slashes. */
  readonly path: string
  readonly sha256: string
  readonly size: number
}

/** A file on the disk, to be uploaded under its SHA-256. */
export function fileBlob(folder: string, { path, sha256, size }: BlobFile): BlobSource {
  return {
    sha256,
    size,
    read: async (offset, length) => {
      // The bytes go to a server before anyone compares them: nothing but the file itself is read.
      const handle = await openFile({ source: join(folder, path), path })
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
    ...[...files, ...(launcher === undefined ? [] : [launcher])].map((file) => fileBlob(tree, file)),
    ...files.flatMap(({ index }) =>
      index === undefined || !atHand.has(index.sha256)
        ? []
        : [fileBlob(indexFolder, { path: index.sha256, sha256: index.sha256, size: index.size })],
    ),
  ]
}

import type { ManifestFile } from '@keyturn/manifest'
import type { DownloadContext } from './download.ts'
import type { Layout } from './layout.ts'
import type { Chunk } from './part-file.ts'

export async function knownIndex(_context: DownloadContext, _layout: Layout, _file: ManifestFile): Promise<readonly Chunk[] | undefined> {
  return undefined
}
export async function fetchIndex(_context: DownloadContext, _layout: Layout, _file: ManifestFile): Promise<readonly Chunk[] | undefined> {
  return undefined
}

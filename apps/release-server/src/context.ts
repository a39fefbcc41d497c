import type { Clock, RandomSource } from '@keyturn/primitives'
import type { DocumentCache } from './public/documents.ts'
import type { ProductDirectory } from './public/directory.ts'
import type { PublicTree } from './public/handler.ts'
import type { BlobStore } from './storage/blob-store.ts'
import type { MetadataStore } from './storage/metadata-store.ts'

/** Where the server writes what it does; `fields` never hold secrets. */
export interface ServerLog {
  info(fields: Readonly<Record<string, unknown>>, message: string): void
  warn(fields: Readonly<Record<string, unknown>>, message: string): void
  error(fields: Readonly<Record<string, unknown>>, message: string): void
}

/** Everything the parts of the server share. */
export interface ServerContext {
  readonly blobs: BlobStore
  readonly metadata: MetadataStore
  readonly documents: DocumentCache
  readonly directory: ProductDirectory
  readonly tree: PublicTree
  readonly clock: Clock
  readonly random: RandomSource
  readonly log: ServerLog
}

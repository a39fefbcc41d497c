export { ServerError, serverErrors, httpStatus } from './errors.ts'
export { createReleaseServer } from './server.ts'
export { openFolderBlobStore } from './storage/folder-blob-store.ts'
export { openSqliteMetadataStore } from './storage/sqlite-metadata-store.ts'
export { scopes } from './api.ts'
export type { ServerErrorCode } from './errors.ts'
export type {
  AuditEntry, BlobView, ChannelView, GarbageReport, ManifestPointer, NewProduct, NewRelease, NewToken, Page, Problem,
  ProductView, Publication, ReleaseDiffView, ReleaseView, Scope, TokenView, WantedHead,
} from './api.ts'
export type { ReleaseServer, ReleaseServerOptions } from './server.ts'
export type { ServerContext, ServerLog } from './context.ts'
export type { BlobInfo, BlobStore, ByteRange, ByteStream, PresignedUpload, PutOptions } from './storage/blob-store.ts'
export type { FolderBlobStoreOptions } from './storage/folder-blob-store.ts'
export type {
  ListQuery, MetadataStore, NewRecord, NotificationListener, RecordReader, RecordWriter, StoredRecord,
} from './storage/metadata-store.ts'

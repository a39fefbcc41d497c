export { ServerError, httpStatus } from './errors.ts'
export { checkServerFolder } from './check-folder.ts'
export { createReleaseServer } from './server.ts'
export { openFolderBlobStore } from './storage/folder-blob-store.ts'
export { openSqliteMetadataStore } from './storage/sqlite-metadata-store.ts'
export { openPostgresMetadataStore } from './storage/postgres-metadata-store.ts'
export { openS3BlobStore } from './storage/s3-blob-store.ts'
export { exportStatic } from './releases/export-static.ts'
export { migrate } from './storage/migrate.ts'
export { startHeadSigner } from './head-signer/server.ts'
export { unixHeadSigner } from './head-signer/client.ts'
export { localHeadSigner } from './head-signer/local.ts'
export { readPublic } from './public/read-public.ts'
export type { ServerErrorCode } from './errors.ts'
export type { CheckFolderOptions, FolderProblem } from './check-folder.ts'
export type { ReleaseServer, ReleaseServerOptions } from './server.ts'
export type { ServerContext, ServerLog } from './context.ts'
export type { BlobInfo, BlobStore, ByteRange, ByteStream, PresignedUpload, PutOptions } from './storage/blob-store.ts'
export type { FolderBlobStoreOptions } from './storage/folder-blob-store.ts'
export type {
  ListQuery,
  MetadataStore,
  NewRecord,
  NotificationListener,
  RecordReader,
  RecordWriter,
  StoredRecord,
} from './storage/metadata-store.ts'
export type { ExportReport } from './releases/export-static.ts'
export type { MigrationReport, Stores } from './storage/migrate.ts'
export type { HeadSignerOptions } from './head-signer/server.ts'
export type { SigningOptions } from './head-signer/sign-wanted-head.ts'
export type { HeadSigner } from './releases/rollout.ts'
export type { RetentionOptions } from './releases/gc.ts'
export type { RateOptions } from './access/rates.ts'
export type { UpkeepOptions } from './ops/upkeep.ts'
export type { VaultSettings } from './keys/server-vault.ts'
export type { OidcRule, OidcSettings } from './access/oidc.ts'
export type { PublicTreeOptions } from './public/handler.ts'
export type { PostgresOptions } from './storage/postgres-metadata-store.ts'
export type { S3Settings } from './storage/s3-request.ts'

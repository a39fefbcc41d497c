export { blobFromBytes, ReleaseServerClient } from './client.ts'
export { ProblemError } from './problem-error.ts'
export { ServerError, serverErrors } from './errors.ts'
export { API_LIMITS } from './limits.ts'
export { scopes } from './api.ts'
export { funnelFailures, funnelSteps } from './health-views.ts'
export type { ServerErrorCode } from './errors.ts'
export type { RenewedSignatures } from './client.ts'
export type { ReleaseServerClientOptions } from './http.ts'
export type { CheckReleaseOptions } from './check-release.ts'
export type { BlobPiece } from './assemble-blob.ts'
export type { BlobSource, UploadOptions } from './blob-source.ts'
export type {
  AttesterView,
  AuditEntry,
  BlobView,
  ChannelAccessView,
  ChannelView,
  DeviceView,
  GarbageReport,
  KeyAgeView,
  ManifestPointer,
  PreloadPointer,
  NewProduct,
  NewRelease,
  NewToken,
  DownloadCount,
  Page,
  Problem,
  ProductChange,
  ProductView,
  Publication,
  ReleaseCheckView,
  ReleaseDiffView,
  ReleaseView,
  ReportCount,
  Scope,
  SessionView,
  StatsView,
  StorageView,
  TokenView,
  WantedHead,
} from './api.ts'
export type { AutoHaltView, FunnelCounts, FunnelStep, FunnelView, HealthView, ReleaseNoteView } from './health-views.ts'
export type { KillView, ReleaseLogView } from './log-views.ts'

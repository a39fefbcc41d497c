export { blobFromBytes, ReleaseServerClient } from './client.ts'
export { ProblemError } from './problem-error.ts'
export { scopes } from '../api.ts'
export type { ReleaseServerClientOptions } from './http.ts'
export type { CheckReleaseOptions } from './check-release.ts'
export type { BlobSource, UploadOptions } from './upload.ts'
export type {
  AttesterView,
  AuditEntry,
  BlobView,
  ChannelView,
  DeviceView,
  GarbageReport,
  ManifestPointer,
  NewProduct,
  NewRelease,
  NewToken,
  Page,
  Problem,
  ProductView,
  Publication,
  KeyAgeView,
  ReleaseCheckView,
  ReleaseDiffView,
  ReleaseView,
  Scope,
  StorageView,
  TokenView,
  WantedHead,
} from '../api.ts'

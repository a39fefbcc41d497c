export { blobFromBytes, ReleaseServerClient } from './client.ts'
export { ProblemError } from './problem-error.ts'
export { scopes } from '../api.ts'
export type { ReleaseServerClientOptions } from './http.ts'
export type { BlobSource, UploadOptions } from './upload.ts'
export type {
  AuditEntry, BlobView, ChannelView, GarbageReport, ManifestPointer, NewProduct, NewRelease, NewToken, Page, Problem,
  ProductView, Publication, ReleaseDiffView, ReleaseView, Scope, TokenView, WantedHead,
} from '../api.ts'

export { ServerError, serverErrors, httpStatus } from './errors.ts'
export { scopes } from './api.ts'
export type { ServerErrorCode } from './errors.ts'
export type {
  AuditEntry, BlobView, ChannelView, GarbageReport, ManifestPointer, NewProduct, NewRelease, NewToken, Page, Problem,
  ProductView, Publication, ReleaseDiffView, ReleaseView, Scope, TokenView, WantedHead,
} from './api.ts'

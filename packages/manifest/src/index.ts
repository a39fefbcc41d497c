export { isWithdrawn } from './accept-head.ts'
export { sealedRoles } from './accept-log.ts'
export { allFilesFor, componentsFor, filesFor } from './component-choice.ts'
export { diffManifests } from './diff-manifests.ts'
export { parseHeadEnvelope, parseSignatures, verifyManifestSignatures, verifyThreshold } from './envelope.ts'
export { ManifestError, manifestErrors } from './errors.ts'
export { formatOf } from './formats.ts'
export { matchesGlob } from './glob.ts'
export { parseHead } from './head.ts'
export { verifyLegacySignature } from './legacy-signature.ts'
export { limits } from './limits.ts'
export { parseLogEntry } from './log-entry.ts'
export { parseManifest } from './parse-manifest.ts'
export { foldPath, PathSet } from './paths.ts'
export { rebuildTrustState } from './rebuild-trust-state.ts'
export { parseRoles } from './role-document.ts'
export { parseTime } from './time.ts'
export { formatTrustRoot, parseTrustRoot, pinnedKeysRoot } from './trust-root.ts'
export { floorOf, initialTrustState, parseTrustState, writeTrustState } from './trust-state.ts'
export { verifyDownload } from './verify-download.ts'
export { verifyInstalled } from './verify-installed.ts'
export { releaseSteps, verifyRelease } from './verify-release.ts'
export { compareVersions } from './version.ts'

export type { SealedRoles } from './accept-log.ts'
export type {
  AcceptedRelease,
  Cohort,
  DocumentAnswer,
  DocumentRequest,
  RefusedRelease,
  ReleaseDecision,
  ReleaseInput,
  StayDecision,
  Trust,
  TrustWarning,
  VerifiedAuthority,
  VerifyOptions,
} from './decision.ts'
export type { ComponentChoice, ComponentShare } from './component-choice.ts'
export type { ChangedFile, ManifestDiff } from './diff-manifests.ts'
export type { AttachedEnvelope, DetachedEnvelope, EnvelopeSignature, SigningRule } from './envelope.ts'
export type { ManifestErrorCode } from './errors.ts'
export type { FormatRegistry } from './formats.ts'
export type { ReleaseFormat, RuntimeKeyNeed } from './formats/release-format.ts'
export type { LogEntry } from './log-entry.ts'
export type {
  Component,
  ContentKey,
  ContentKeyStatus,
  Head,
  IndexReference,
  LauncherFile,
  LogPolicy,
  ManifestCore,
  ManifestExtension,
  ManifestFile,
  ManifestPin,
  ManifestTotals,
  Mirror,
  Platform,
  PreloadPin,
  ReleaseManifest,
  Requirements,
  Role,
  RoleDocument,
  Rollout,
} from './model.ts'
export type { ReleaseSteps } from './progress.ts'
export type { StoredDocuments, StoredManifest } from './rebuild-trust-state.ts'
export type { KelRoot, PinnedKey, PinnedKeysRoot, TrustRoot } from './trust-root.ts'
export type {
  ChannelFloor,
  Fork,
  LogFinding,
  LogPlace,
  SeenContentKey,
  TrustState,
  Unwitnessed,
  Witnessed,
} from './trust-state.ts'
export type { VerifiedDownload, VerifyDownloadOptions } from './verify-download.ts'
export type { InstalledDecision, InstalledDocuments } from './verify-installed.ts'
export type { ReleaseVersion } from './version.ts'

export { sha256Hex } from '@keyturn/primitives'
export { buildManifest, manifestPin } from './build-manifest.ts'
export { manifestTotals } from './check-manifest.ts'
export { chunkDigest, parseChunkIndex, writeChunkIndex } from './delta/chunk-index.ts'
export { ChunkIndexer } from './delta/chunk-indexer.ts'
export { chunkParams, chunkParamsFor, MIN_INDEXED_BYTES } from './delta/params.ts'
export { planDelta } from './delta/plan-delta.ts'
export { allFilesFor, componentsFor, filesFor } from './component-choice.ts'
export { diffManifests } from './diff-manifests.ts'
export {
  addHeadSignature,
  parseHeadEnvelope,
  parseSignatures,
  payloadTypes,
  signHead,
  signManifest,
  verifyManifestSignatures,
  verifyThreshold,
} from './envelope.ts'
export { ManifestError, manifestErrors } from './errors.ts'
export { formatOf, releaseFormats } from './formats.ts'
export { matchesGlob } from './glob.ts'
export { parseHead, writeHead } from './head.ts'
export { formatLogEntry, offerDigest, parseLogEntry } from './log-entry.ts'
export { headEndsMs, isWithdrawn } from './accept-head.ts'
export { parseLegacySignature, verifyLegacySignature } from './legacy-signature.ts'
export { limits } from './limits.ts'
export { parseManifest } from './parse-manifest.ts'
export { checkPath, foldPath, PathSet } from './paths.ts'
export { rebuildTrustState } from './rebuild-trust-state.ts'
export { checkRolesStep, parseRoles, writeRoles } from './role-document.ts'
export { isInRollout } from './rollout.ts'
export { findKills, formatKill, parseKill, readKills, signKill, writeKills } from './kill.ts'
export { sealedRoles } from './accept-log.ts'
export { formatTime, parseTime } from './time.ts'
export { formatTrustRoot, parseTrustRoot, pinnedKeysRoot } from './trust-root.ts'
export { floorOf, initialTrustState, parseTrustState, writeTrustState } from './trust-state.ts'
export { verifyInstalled } from './verify-installed.ts'
export { releaseSteps, verifyRelease } from './verify-release.ts'
export { checkVersionName, compareVersions, nextVersion, parseVersion } from './version.ts'
export { sortFiles, writeManifest } from './write-manifest.ts'

export type { SealedRoles } from './accept-log.ts'
export type { BuildManifestOptions, ManifestEntry, ReleasePlace } from './build-manifest.ts'
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
export type { LogEntry } from './log-entry.ts'
export type { FoundKills, KillNotice, SignedKill } from './kill.ts'
export type { ChunkIndex, ExpectedIndex } from './delta/chunk-index.ts'
export type { ChunkParams } from './delta/params.ts'
export type { DeltaCopy, DeltaPlan, DeltaRange, DeltaSeed, PlanDeltaOptions } from './delta/plan-delta.ts'
export type { ComponentChoice, ComponentShare } from './component-choice.ts'
export type { ChangedFile, ManifestDiff } from './diff-manifests.ts'
export type {
  AttachedEnvelope,
  DetachedEnvelope,
  DocumentSigner,
  EnvelopeSignature,
  SignedManifest,
  SigningRule,
} from './envelope.ts'
export type { ManifestErrorCode } from './errors.ts'
export type { FormatRegistry } from './formats.ts'
export type { ReleaseFormat, RuntimeKeyNeed } from './formats/release-format.ts'
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
export type { InstalledDecision, InstalledDocuments } from './verify-installed.ts'
export type { ReleaseSteps } from './progress.ts'
export type { ReleaseVersion } from './version.ts'

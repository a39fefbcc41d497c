export {
  findRelease,
  readIdentityLog,
  readIfThere,
  readReleaseChannels,
  readReleases,
  readRoles,
  releaseFiles,
  rolesInForce,
} from './store.ts'
export { noteHeadPublished, readPublishedChannels, readPublishedHead, readStoredHead } from './heads.ts'
export { readChannelsWithHead, readKnownHeads, requireBase } from './verified-head.ts'
export { newestRelease, refuseSealed, scheduledOn, sealedKeyOf } from './sealed.ts'
export { releaseState, stateText } from './state.ts'
export { runtimeKeyFile, writeRuntimeKeyFile } from './runtime-key-file.ts'
export { discardRelease } from './discard.ts'
export { deltaBytes } from './delta-bytes.ts'
export { markBackup } from './backup-mark.ts'
export { markRestored, requireFresh } from './freshness.ts'
export type { StoredRelease, StoredRoles } from './store.ts'
export type { Offer, OwnHead, StoredHead } from './heads.ts'
export type { BaseHead, KnownHeads } from './verified-head.ts'
export type { ReleasePlace, ReleaseState } from './state.ts'

export { markBackup, readBackupMark } from './backup-mark.ts'
export { markRestored, readRestored, requireFresh } from './freshness.ts'
export { packTree, planTree } from './archives.ts'
export { deltaBytes } from './delta-bytes.ts'
export { catchUp, checkKeysInForce, findOrFetchRelease, followOffers, refuseUnknownOffers } from './catch-up.ts'
export { addSignatures, compareTree, cosign, readForeignRelease } from './cosign.ts'
export { discardRelease } from './discard.ts'
export { earlierTree } from './earlier-tree.ts'
export { isExcluded, refuseSecrets } from './exclusions.ts'
export { planProject } from './project-plan.ts'
export { checkProjectServer } from './project-server.ts'
export { findProject, PROJECT_FILE, readProject } from './project.ts'
export { releaseState, stateText } from './state.ts'
export { refuseForeignArchives } from './own-archives.ts'
export { prepareRelease, storeRelease } from './prepare-release.ts'
export { publishHead, publishRelease, trustPin } from './publish-release.ts'
export { planUpload } from './upload-plan.ts'
export type { UploadPlan } from './upload-plan.ts'
export type { PublishReport } from './publish-release.ts'
export { reissueRelease } from './reissue.ts'
export { rotateTree } from './rotate-tree.ts'
export { logPolicyInForce, monitorLog } from './monitor.ts'
export type { MonitorOptions, MonitorReport } from './monitor.ts'
export { killedKeys, killKeys, readHomeKills, uploadKills } from './kill.ts'
export type { KilledKey, KilledRole } from './kill.ts'
export { runtimeKeyFile, writeRuntimeKeyFile } from './runtime-key-file.ts'
export { openClient, openKnownClient, requireServer, serverUrl } from './server.ts'
export {
  checkEpoch,
  checkRolesLast,
  checkSignsAlone,
  issueHead,
  pinOf,
  requireSigned,
  signOffer,
  signRelease,
} from './sign-release.ts'
export {
  dropWaitingHead,
  noteHeadPublished,
  readPublishedChannels,
  readPublishedHead,
  readStoredHead,
  readWaitingHead,
  storeHead,
} from './heads.ts'
export { dropHead, headToPublish, putOffer, renewOffer } from './put-offer.ts'
export { changeRollout, checkMayReplace, haltOffer, offeredToAll, offerOf, offerRelease } from './offer.ts'
export { readChannelsWithHead, readKnownHeads, requireBase } from './verified-head.ts'
export {
  findRelease,
  readIdentityLog,
  readIfThere,
  readReleaseChannels,
  readReleases,
  readRoles,
  releaseFiles,
  rolesInForce,
  takenVersions,
} from './store.ts'
export { cancelSchedule, offerNow, openDue, readableBefore, scheduleRelease } from './schedule.ts'
export { adoptOffered, newestRelease, refuseSealed, scheduledOn, sealedKeyOf } from './sealed.ts'
export { settleSchedules } from './settle-schedules.ts'
export { hashFile, listTree } from './tree.ts'
export type { CancelledSchedule, ReadableBefore, ScheduledRelease, ScheduleOptions } from './schedule.ts'
export type { PackReport } from './archives.ts'
export type { ArchiveRule, ComponentRule, Layout, LayoutRules } from './layout.ts'
export type { Selection } from './exclusions.ts'
export type { ProjectPlan } from './project-plan.ts'
export type { Project, ProjectLauncher } from './project.ts'
export type { ReleasePlace, ReleaseState } from './state.ts'
export type { ServerOptions } from './server.ts'
export type { OwnHead, StoredHead } from './heads.ts'
export type { Offer } from './offer.ts'
export type { ReissuePlan } from './reissue.ts'
export type { HeadPlan } from './sign-release.ts'
export type { DroppedHead, PutOffer, PutOfferOptions, RenewedOffer } from './put-offer.ts'
export type { StoredRelease, StoredRoles } from './store.ts'
export type { BaseHead, KnownHeads } from './verified-head.ts'

export { formatVersionAfter, packTree, planTree } from '../tree/archives.ts'
export { isExcluded, refuseSecrets } from '../tree/exclusions.ts'
export { refuseForeignArchives } from '../tree/own-archives.ts'
export { hashFile, listTree } from '../tree/tree.ts'
export { PROJECT_FILE } from '../names.ts'
export { findProject, readProject } from '../project/project.ts'
export { planProject } from '../project/project-plan.ts'
export { checkProjectHome, projectTerms } from '../project/project-terms.ts'
export { checkProjectServer } from '../project/project-server.ts'
export { openClient, openKnownClient, requireServer, serverUrl } from '../server/server.ts'
export { earlierTree } from '../server/earlier-tree.ts'
export { planUpload } from '../server/upload-plan.ts'
export { prepareRelease } from './prepare-release.ts'
export {
  checkEpoch,
  checkRolesLast,
  checkSignsAlone,
  issueHead,
  pinOf,
  requireSigned,
  signRelease,
} from './sign-release.ts'
export { addSignatures, compareTree, cosign, readForeignRelease } from './cosign.ts'
export { publishHead, publishRelease, trustPin } from './publish-release.ts'
export { reissueRelease } from './reissue.ts'
export { killKeys, uploadKills } from './kill.ts'
export { logPolicyInForce, monitorLog } from './monitor.ts'
export type { PackPlan, PackReport } from '../tree/archives.ts'
export type { Selection } from '../tree/exclusions.ts'
export type { ArchiveRule, ComponentRule, Layout, LayoutRules } from '../tree/layout.ts'
export type { Project, ProjectLauncher } from '../project/project.ts'
export type { ProjectPlan } from '../project/project-plan.ts'
export type { ProjectTerms } from '../project/project-terms.ts'
export type { ServerOptions } from '../server/server.ts'
export type { UploadPlan } from '../server/upload-plan.ts'
export type { HeadPlan } from './sign-release.ts'
export type { PublishReport } from './publish-release.ts'
export type { ReissuePlan } from './reissue.ts'
export type { KilledKey, KilledRole } from './kill.ts'
export type { MonitorOptions, MonitorReport } from './monitor.ts'

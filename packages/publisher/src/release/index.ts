export { packTree } from './archives.ts'
export { refuseForeignArchives } from './own-archives.ts'
export { prepareRelease, storeRelease } from './prepare-release.ts'
export { publishRelease, trustPin } from './publish-release.ts'
export { writeRuntimeKeyFile } from './runtime-key-file.ts'
export { openClient, requireServer, serverUrl } from './server.ts'
export { issueHead, signRelease } from './sign-release.ts'
export {
  findRelease,
  readIdentityLog,
  readIfThere,
  readReleases,
  readRoles,
  readStoredHead,
  releaseFiles,
  rolesInForce,
} from './store.ts'
export { hashFile, listTree } from './tree.ts'
export type { PackReport } from './archives.ts'
export type { ServerOptions } from './server.ts'
export type { HeadPlan } from './sign-release.ts'
export type { StoredHead, StoredRelease } from './store.ts'

export { buildManifest, manifestPin } from './build-manifest.ts'
export { publishFiles, rotatePublication, startPublication } from './publish-files.ts'
export { addHeadSignature, payloadTypes, signHead, signManifest } from '../envelope.ts'
export { writeHead } from '../head.ts'
export { formatLogEntry, offerDigest } from '../log-entry.ts'
export { checkPath } from '../paths.ts'
export { checkRolesStep, writeRoles } from '../role-document.ts'
export { formatTime } from '../time.ts'
export { checkVersionName, nextVersion } from '../version.ts'
export { sortFiles, writeManifest } from '../write-manifest.ts'

export type { BuildManifestOptions, ManifestEntry, ReleasePlace } from './build-manifest.ts'
export type {
  FileToPublish,
  IdentityKeys,
  PublicationKeys,
  PublishFilesOptions,
  StartPublicationOptions,
} from './publish-files.ts'
export type { DocumentSigner, SignedManifest } from '../envelope.ts'

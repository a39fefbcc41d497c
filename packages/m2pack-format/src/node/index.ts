export { openArchiveFile, rewrapFile, withArchiveFile } from './archive-file.ts'
export { buildFolder } from './build-folder.ts'
export { Crew } from './crew.ts'
export { diffPaths } from './diff-paths.ts'
export { extractArchive } from './extract.ts'
export { openFileSource } from './file-source.ts'
export {
  generateKeyFiles,
  readContentKeyFile,
  readPublicKeyFile,
  readSigningKeyFile,
  readSlotsFile,
  writeSlots,
} from './key-files.ts'
export { SafeFolder } from './safe-folder.ts'
export { verifyArchiveFile } from './verify-file.ts'
export { walkFolder } from './walk.ts'

export type { ArchiveFile, OpenFileOptions, OutputOptions, RewrapFileOptions } from './archive-file.ts'
export type { BuildFolderOptions } from './build-folder.ts'
export type { DiffPathsOptions, DiffPathsResult } from './diff-paths.ts'
export type { ExtractOptions, ExtractResult } from './extract.ts'
export type { FileSource } from './file-source.ts'
export type { GenerateKeyFilesOptions, KeyFilePaths } from './key-files.ts'
export type { Placement } from './safe-folder.ts'
export type { VerifyFileOptions } from './verify-file.ts'
export type { WalkOptions } from './walk.ts'

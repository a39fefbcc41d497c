export { readAuthsLog } from './auths-log.ts'
export { checkRepository, writeAuthsRegistry } from './auths-registry.ts'
export { fileLog, fileStore } from './file-store.ts'
export { git, listTree, readCommits, readGitObjects, resolveCommit, resolveRef } from './git.ts'
export { exportBundle, gitStore } from './git-store.ts'

export type { WriteRegistryOptions } from './auths-registry.ts'
export type { FileStoreOptions } from './file-store.ts'
export type { GitCommit, GitObject, GitOptions } from './git.ts'

export { readAuthsLog } from './auths-log.ts'
export { fileLog, fileStore } from './file-store.ts'
export { exportBundle, gitStore } from './git-store.ts'

export type { FileStoreOptions } from './file-store.ts'

export { FileAuditStore } from './file-audit-store.ts'
export { FolderStore } from './folder-store.ts'
export type { FolderStoreOptions } from './folder-store.ts'

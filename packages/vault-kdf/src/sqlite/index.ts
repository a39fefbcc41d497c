export { SqliteAuditStore } from './audit-store.ts'
export { SqliteStore } from './store.ts'
export type { SqliteStoreOptions } from './store.ts'

export { PostgresAuditStore } from './audit-store.ts'
export { PostgresStore } from './store.ts'
export type { PgClient, PgPool } from './client.ts'
export type { PostgresStoreOptions } from './store.ts'

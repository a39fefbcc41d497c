export { createVault, openVault, vaultPaths } from '../vault-location.ts'
export type { VaultFlags } from '../vault-location.ts'

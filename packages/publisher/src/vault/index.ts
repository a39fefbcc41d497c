export { createVault, openVault, vaultPaths } from '../vault-location.ts'
export { checkSpare, makeSpare, useSpare } from '../vault-spare.ts'
export type { SparePassphrases } from '../vault-spare.ts'
export type { VaultFlags } from '../vault-location.ts'

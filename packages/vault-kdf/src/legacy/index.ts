export { hexvaultLink, verifyHexvaultChain } from '../audit/hexvault-chain.ts'
export { openLegacy } from '../legacy.ts'
export type { HexvaultAuditRecord } from '../audit/hexvault-chain.ts'
export type { LegacyPlace, LegacyProfile } from '../legacy.ts'

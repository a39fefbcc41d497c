export { readFreeze, refuseFrozen, removeFreeze, writeFreeze } from '../freeze.ts'
export { isStoredInside } from '../inside.ts'
export { attestDevice, listDevices } from './devices.ts'
export {
  aliasFlag,
  listNamedIdentities,
  namedIdentityFolder,
  openIdentity,
  openOwnLog,
  readOwnLog,
  releaseIdentity,
  writeNamedRecord,
} from './identity.ts'
export { adoptRoles, readLogCopy } from './log-copy.ts'
export { keepReason, readReasons } from './reasons.ts'
export {
  appendWitnessed,
  openWitnesses,
  readWitnesses,
  receiptCollector,
  tooFewReceipts,
  writeWitnesses,
} from './receipts.ts'
export { readProposal, storeProposal } from './roles-proposal.ts'
export { countUnsealed, listSigned, sealProofs } from './signed-list.ts'
export type { Device } from './devices.ts'
export type { Identity, NextKeyPlace } from './identity.ts'
export type { LogCopy } from './log-copy.ts'
export type { KeptReason } from './reasons.ts'

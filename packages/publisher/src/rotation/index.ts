export { abandonContent, abandonIdentity, abandonIdentityKey, abandonTransport } from './abandon.ts'
export { contentRotationSteps, planContentRotation } from './content.ts'
export { contentRotation } from './content-state.ts'
export { contentCovers, describeContent, describeIdentity, describePending, identityCovers } from './covers.ts'
export { checkIdentityRotation, identityRotationSteps, leftBehind } from './identity.ts'
export { identityRotation } from './identity-state.ts'
export { dropRotation, pendingRotations, readRotation, runRotationSteps } from './journal.ts'
export { checkKeyRotation, isKeyRotationBinding, keyRotationSteps, rotateIdentityKey } from './key-rotation.ts'
export { keyRotation } from './key-state.ts'
export { contentOverlaps, identityOverlaps, overlapData, overlapText } from './overlap.ts'
export {
  finishingCommand,
  finishingKeyCommand,
  refuseRivals,
  refuseWhileKeyRotates,
  refuseWhileRotating,
  resumeCommand,
  rotationPending,
} from './pending.ts'
export { previewRotation } from './promised-keys.ts'
export { runHomeRotation, stepsText } from './run-home-rotation.ts'
export { standingSeals } from './standing-seals.ts'
export { metadataAfter, transportRotationSteps } from './transport.ts'
export { proposeTransportIdentity } from './transport-identity.ts'
export { transportRotation } from './transport-state.ts'
export { MASTERS, vaultRotation, vaultRotationParts, vaultRotationSteps } from './vault.ts'
export type { AbandonedRotation } from './abandon.ts'
export type { ContentRotationOptions, ContentRotationPlan } from './content.ts'
export type { ContentState, ContentTerms } from './content-state.ts'
export type { WantedContent, WantedIdentity } from './covers.ts'
export type { IdentityRotationOptions } from './identity.ts'
export type { IdentityState, IdentityTerms } from './identity-state.ts'
export type { Rotation, RotationRecord, RotationStep, RunOptions } from './journal.ts'
export type { KeyRotationPlan, RotatedIdentity } from './key-rotation.ts'
export type { KeyRotationState, RotationTerms } from './key-state.ts'
export type { Overlap } from './overlap.ts'
export type { RotationPreview } from './promised-keys.ts'
export type { TransportPlaces, TransportRotation } from './transport.ts'
export type { TransportChange, TransportOrder, TransportState, TransportTerms } from './transport-state.ts'
export type { MasterName, MasterRotation, VaultState } from './vault.ts'

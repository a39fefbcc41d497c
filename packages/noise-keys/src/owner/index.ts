export { auditIdentity } from './audit.ts'
export {
  answerSigningRequest,
  describeSigningRequest,
  formatSigningRequest,
  parseSigningRequest,
  readSigningAnswer,
} from './cold-signing.ts'
export {
  deriveX25519ForDeviceEpoch,
  deriveX25519Prehistoric,
  deriveX25519Static,
  transportPublicKey,
} from './derive.ts'
export { emptyMetadata, formatMetadata, guideMetadata, importGuideMetadata, parseMetadata } from './metadata.ts'
export { deriveTransportSecret, recoverTransportSecret } from './own-secret.ts'
export { planRotation, remindersDue } from './planner.ts'
export { INTERVAL_PRESETS, rotationPolicy } from './policy.ts'
export { Publisher } from './publisher.ts'
export { afterPublication, draftPublication, publish, signPublication } from './publication.ts'
export { activeKey, addKey, cutOver, nextDeviceId, nextKey, retire, revoke } from './key-states.ts'

export type { AuditFinding, AuditOptions, AuditProblem, AuditReport } from './audit.ts'
export type { DeviceEpochOptions, Generation } from './derive.ts'
export type { GuideKeyMetadata, NewKey, OwnKey, OwnKeyState, TransportMetadata } from './metadata.ts'
export type { DerivationPlace } from './own-secret.ts'
export type { PlanAction, PlanStep, RotationPlan } from './planner.ts'
export type { RotationPolicy } from './policy.ts'
export type { Publication, RecordDraft, SignedPublication } from './publication.ts'
export type { Announcement, PublisherOptions } from './publisher.ts'

export { abandonContent, abandonIdentity, abandonIdentityKey, abandonTransport } from './abandon.ts'
export { contentCovers, describeContent, describeIdentity, describePending, identityCovers } from './covers.ts'
export { contentOverlaps, identityOverlaps, overlapData, overlapText } from './overlap.ts'
export { dropRotation, pendingRotations } from '../rotation/journal.ts'
export {
  finishingCommand,
  finishingKeyCommand,
  refuseRivals,
  refuseWhileKeyRotates,
  refuseWhileRotating,
  resumeCommand,
  rotationPending,
} from '../rotation/pending.ts'

export type { AbandonedRotation } from './abandon.ts'
export type { WantedContent, WantedIdentity } from './covers.ts'
export type { Overlap } from './overlap.ts'

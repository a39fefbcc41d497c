export { buildInception, buildInteraction, buildRotation } from './build.ts'
export { nextKeyDigest, sha256Seal } from '../digest.ts'
export { nextDigestOf } from '../keys.ts'
export { MAX_SEAL_TREE, sealTree } from '../seal-tree.ts'
export { seedSigner } from './seed-signer.ts'
export {
  abandon,
  attachSignatures,
  collectSignatures,
  incept,
  interact,
  readSignedEvent,
  rotate,
} from './sign-event.ts'
export { attachSealProof, signStatement, writeStatement } from '../statement.ts'

export type { InceptionPlan, NextKeys, RotationPlan, Trait, UnsignedEvent } from './build.ts'
export type { SealTree } from '../seal-tree.ts'
export type { AttachOptions, KeySignature, SignedEvent } from './sign-event.ts'
export type { Signer } from '../signer.ts'
export type { ThresholdInput } from '../threshold.ts'

export { buildInception, buildInteraction, buildRotation } from './build.ts'
export { checkStream } from './check-stream.ts'
export { collectReceipts } from './collect-receipts.ts'
export { compareLogs, findPlace } from './compare-logs.ts'
export { nextKeyDigest, digestText, sha256DigestSeal, sha256Seal } from './digest.ts'
export { didKeri, didKey, parseDidKey } from './did.ts'
export { KelError, kelErrors } from './errors.ts'
export { discoverWitness, httpWitness } from './http-witness.ts'
export { Kel } from './kel.ts'
export { keyText, nextDigestOf, parseKeyText } from './keys.ts'
export { isAbandoned, isEstablishmentOnly } from './key-state.ts'
export { localWitness } from './local-witness.ts'
export { memoryStore } from './memory-store.ts'
export { formatPin, parsePin } from './pin.ts'
export { eventSeal } from './seal.ts'
export { MAX_SEAL_TREE, sealTree } from './seal-tree.ts'
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
export { parseSnapshot, writeSnapshot } from './snapshot.ts'
export {
  attachSealProof,
  parseStatement,
  parseStatementEnvelope,
  signStatement,
  STATEMENT_TYPE,
  statementDigest,
  writeStatement,
} from './statement.ts'
export { verifyLog, verifyLogAsync } from './verify-log.ts'
export { verifyReceipts } from './verify-receipts.ts'
export { findSeal, verifyAt, verifyStatement } from './verify-statement.ts'
export { verifyLogStream } from './verify-stream.ts'
export { defaultWitnessThreshold } from './witness-threshold.ts'
export { writeReceipt } from './write-receipt.ts'

export type { InceptionPlan, NextKeys, RotationPlan, Trait, UnsignedEvent } from './build.ts'
export type { CheckedMessage, CheckedStream, CheckOptions } from './check-stream.ts'
export type { CollectedReceipts, CollectOptions, WitnessAnswer } from './collect-receipts.ts'
export type { LogRelation } from './compare-logs.ts'
export type { DigestSeal } from './digest.ts'
export type { KelErrorCode } from './errors.ts'
export type { EscrowLimits, WaitingEvent } from './escrow.ts'
export type { EventType, InceptionEvent, InteractionEvent, KeyEvent, RotationEvent } from './event.ts'
export type { HttpWitnessOptions } from './http-witness.ts'
export type { AppendResult, KelOptions } from './kel.ts'
export type { KeyState, Place } from './key-state.ts'
export type { LocalWitnessOptions } from './local-witness.ts'
export type { VerifiedEvent } from './log.ts'
export type { Pin } from './pin.ts'
export type { EventSeal, RootSeal, Seal } from './seal.ts'
export type { SealProof, SealTree } from './seal-tree.ts'
export type { AttachOptions, KeySignature, SignedEvent } from './sign-event.ts'
export type { Signer } from './signer.ts'
export type { DuplicityRecord, EventSource, KelStore, LogRecord, LogStorage, StoredLog } from './storage.ts'
export type { LogSnapshot } from './snapshot.ts'
export type { Statement, StatementContent, StatementEnvelope, StatementPurpose } from './statement.ts'
export type { Threshold, ThresholdInput } from './threshold.ts'
export type { VerifiedLog } from './verified-log.ts'
export type { Pause } from './pace.ts'
export type { VerifyLogAsyncOptions, VerifyLogOptions } from './verify-log.ts'
export type { VerifiedReceipt, VerifyReceiptsOptions } from './verify-receipts.ts'
export type { PositionProof, VerifiedStatement, VerifyStatementOptions } from './verify-statement.ts'
export type { VerifiedTip, VerifyStreamOptions } from './verify-stream.ts'
export type { EventPlace, Witness } from './witness.ts'
export type { Receipted } from './write-receipt.ts'

export { auditIdentity } from './audit.ts'
export { keyBindingPreimage, signKeyBinding, verifyKeyBinding } from './binding.ts'
export {
  answerSigningRequest,
  describeSigningRequest,
  formatSigningRequest,
  parseSigningRequest,
  readSigningAnswer,
} from './cold-signing.ts'
export {
  deriveNoiseSeed,
  deriveX25519ForDeviceEpoch,
  deriveX25519Prehistoric,
  deriveX25519Static,
  G1_MIN_DEVICE_ID_BYTES,
  transportPublicKey,
} from './derive.ts'
export {
  ANCHOR_DNS_NAME,
  assertDeviceId,
  DEFAULT_DEVICE_ID,
  KEY_LIST_PATH,
  recordDnsName,
  recordPath,
} from './device-id.ts'
export { combineDirectories, memoryDirectory, recordsInPacket, relayDirectory } from './directories.ts'
export { NoiseKeysError, noiseKeysErrors } from './errors.ts'
export { createKeyFileHandler, MAX_KEY_FILE_BYTES, memoryKeyFileStore } from './file-handler.ts'
export { KeyFloors } from './floors.ts'
export { homeserverDirectory, releaseServerDirectory } from './http-directory.ts'
export { createTransportIdentity, parseIdentityName, transportIdentity } from './identity.ts'
export { assertKeyUsable, assertUsable, DEFAULT_READER_POLICY, isUsable, judgeKeys } from './judge.ts'
export {
  formatAnchor,
  formatKeyList,
  MAX_KEY_LIST_BYTES,
  parseAnchor,
  recordSha256,
  signKeyList,
  TOMBSTONE_GRACE_S,
  verifyKeyList,
} from './key-list.ts'
export { lookUpKeys, preferredKey } from './lookup.ts'
export {
  emptyMetadata,
  formatMetadata,
  guideMetadata,
  importGuideMetadata,
  keyOfDevice,
  parseMetadata,
} from './metadata.ts'
export { OLD_READER_MAX_AGE_S, readAsOldReader } from './old-reader.ts'
export { deriveTransportSecret, recoverTransportSecret } from './own-secret.ts'
export { ageDays, LIST_LIFE_S, planRotation, remindersDue, shouldRotate } from './planner.ts'
export { DEFAULT_ROTATION_POLICY, INTERVAL_PRESETS, MIN_OVERLAP_S, rotationPolicy } from './policy.ts'
export { canonicalX25519PublicKey } from './public-key.ts'
export {
  afterPublication,
  draftPublication,
  NOISE_TTL_S,
  publish,
  signPublication,
  verifyPublication,
} from './publication.ts'
export { appendRecordSignature, keyRecordSigningBytes, signKeyRecord, verifyKeyRecord } from './record-signature.ts'
export { formatKeyRecord, MAX_RECORD_BYTES, MAX_RECORD_LIFE_S, parseKeyRecord } from './record.ts'
export { activeKey, addKey, cutOver, dropOldTombstones, nextDeviceId, nextKey, retire, revoke } from './turn.ts'

export type { AuditFinding, AuditOptions, AuditProblem, AuditReport } from './audit.ts'
export type { KeyBinding } from './binding.ts'
export type { DeviceEpochOptions, Generation } from './derive.ts'
export type { KeyDirectory, PublishedKeys, ReadOptions } from './directory.ts'
export type { NoiseKeysErrorCode } from './errors.ts'
export type { KeyFileHandlerOptions, KeyFileStore } from './file-handler.ts'
export type { EquivocationEvidence, IdentityFloor } from './floors.ts'
export type { HomeserverOptions } from './http-directory.ts'
export type { TransportIdentity } from './identity.ts'
export type { KeyVerdict, ReaderPolicy, Verdict } from './judge.ts'
export type { KeyList, KeyListAnchor, KeyListEntry, Tombstone, VerifiedKeyList } from './key-list.ts'
export type { LookupOptions } from './lookup.ts'
export type { GuideKeyMetadata, NewKey, OwnKey, OwnKeyState, TransportMetadata } from './metadata.ts'
export type { OldReaderVerdict } from './old-reader.ts'
export type { DerivationPlace } from './own-secret.ts'
export type { PlanAction, PlanStep, RotationPlan } from './planner.ts'
export type { RotationPolicy } from './policy.ts'
export type { Publication, RecordDraft, SignedPublication } from './publication.ts'
export type { RecordPlace, UnsignedKeyRecord } from './record-signature.ts'
export type {
  KeyRecord,
  KeyState,
  ParsedKeyRecord,
  PlainKeyRecord,
  RevocationReason,
  StatefulKeyRecord,
} from './record.ts'

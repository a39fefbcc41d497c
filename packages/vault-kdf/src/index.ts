export { parseCheckpoint, writeCheckpoint } from './audit/checkpoint.ts'
export { writeAuditRecord } from './audit/record.ts'
export { MemoryAuditStore } from './audit/store.ts'
export { verifyAuditChain } from './audit/verify.ts'
export { blindIndexOf } from './blind-index.ts'
export { deriveErasablePartitionKey, derivePartitionKey } from './derive.ts'
export { openEnvelope, parseEnvelopeHeader, sealEnvelope } from './envelope.ts'
export { VaultError, vaultErrors } from './errors.ts'
export { kekProvider } from './kek-provider.ts'
export { MemoryStore } from './memory-store.ts'
export { layers } from './place.ts'
export { parseVaultPolicy } from './policy.ts'
export { compareRecordIds, countVersion } from './store.ts'
export { sealedStreamBytes } from './stream/format.ts'
export { SealedStream, openStream, sealStream } from './stream/stream.ts'
export { Vault } from './vault.ts'
export type { Checkpoint, CheckpointSigner, CheckpointStatement } from './audit/checkpoint.ts'
export type { AuditLog, AuditLogOptions, CheckpointContext } from './audit/log.ts'
export type { AuditEvent, AuditOutcome, AuditRecord, AuditType } from './audit/record.ts'
export type { AuditSink, AuditStore } from './audit/store.ts'
export type { AuditFlaw, AuditVerdict, VerifyAuditOptions } from './audit/verify.ts'
export type { BlindIndex, BlindIndexOptions, FinishRotationOptions } from './blind-index.ts'
export type { Cell, OpenOptions, RecordSummary, SealOptions } from './cell.ts'
export type { PartitionKey } from './derive.ts'
export type { EnvelopeFormat, EnvelopeHeader, OpenFailure } from './envelope.ts'
export type { EraseOptions, EraseReport } from './erasable/erase.ts'
export type { VaultErrorCode } from './errors.ts'
export type { MessageToSeal } from './hedged.ts'
export type { KeyEvents } from './key-events.ts'
export type { KeyState, KeyUse } from './key-state.ts'
export type { Keyring, KeyringOptions } from './keyring.ts'
export type { KeyTransition, KeyringDocument, KeyringEntry, KeyringNode, ParsedKeyring } from './keyring-document.ts'
export type { LegacyProfile } from './legacy.ts'
export type { GeneratedMaster, MasterKeyProvider, WrapContext } from './master-key-provider.ts'
export type { Partition } from './partition.ts'
export type { Layer, LayerContext, Place, RecordId } from './place.ts'
export type { RotationDue, VaultPolicy } from './policy.ts'
export type {
  CensusRow,
  DocumentWrite,
  Expected,
  Fence,
  PartitionSecretStore,
  RecordFormat,
  ScanQuery,
  StoreChange,
  StoreOutcome,
  StoredRecord,
  VaultRecord,
  VaultStore,
} from './store.ts'
export type { ByteStream, SealedSource, StreamEnd } from './stream/stream.ts'
export type { SweepOptions, SweepReport } from './sweep.ts'
export type { SweepCounts, SweepFailure } from './sweep-job.ts'
export type { DestroyOptions, NewMaster, PromoteOptions } from './transitions.ts'
export type { TraverseOptions } from './traverse.ts'
export type { LegacyImport, VaultOptions } from './vault.ts'
export type { GatedAccess, GatedPolicy, TokenResolver } from './vault-core.ts'

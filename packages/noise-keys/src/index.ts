export { signKeyBinding, verifyKeyBinding } from './binding.ts'
export { DEFAULT_DEVICE_ID } from './device-id.ts'
export { combineDirectories, memoryDirectory, relayDirectory } from './directories.ts'
export { NoiseKeysError, noiseKeysErrors } from './errors.ts'
export { createKeyFileHandler, MAX_KEY_FILE_BYTES, memoryKeyFileStore } from './file-handler.ts'
export { homeserverDirectory, releaseServerDirectory } from './http-directory.ts'
export { createTransportIdentity, parseIdentityName, transportIdentity } from './identity.ts'
export { formatAnchor, parseAnchor, signKeyList, verifyKeyList } from './key-list.ts'
export { formatKeyRecord, parseKeyRecord } from './record.ts'
export { signKeyRecord, verifyKeyRecord } from './record-signature.ts'

export type { KeyBinding } from './binding.ts'
export type { KeyDirectory, PublishedKeys, ReadOptions } from './directory.ts'
export type { NoiseKeysErrorCode } from './errors.ts'
export type { KeyFileHandlerOptions, KeyFileStore } from './file-handler.ts'
export type { HomeserverOptions } from './http-directory.ts'
export type { TransportIdentity } from './identity.ts'
export type { KeyList, KeyListAnchor, KeyListEntry, Tombstone, VerifiedKeyList } from './key-list.ts'
export type {
  KeyRecord,
  KeyState,
  ParsedKeyRecord,
  PlainKeyRecord,
  RevocationReason,
  StatefulKeyRecord,
} from './record.ts'
export type { RecordPlace, UnsignedKeyRecord } from './record-signature.ts'

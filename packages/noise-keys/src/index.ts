export { keyBindingPreimage, signKeyBinding, verifyKeyBinding } from './binding.ts'
export {
  deriveNoiseSeed, deriveX25519ForDeviceEpoch, deriveX25519Prehistoric, deriveX25519Static, G1_MIN_DEVICE_ID_BYTES,
  transportPublicKey,
} from './derive.ts'
export {
  ANCHOR_DNS_NAME, assertDeviceId, DEFAULT_DEVICE_ID, KEY_LIST_PATH, recordDnsName, recordPath,
} from './device-id.ts'
export { NoiseKeysError, noiseKeysErrors } from './errors.ts'
export { createTransportIdentity, parseIdentityName, transportIdentity } from './identity.ts'
export { OLD_READER_MAX_AGE_S, readAsOldReader } from './old-reader.ts'
export { canonicalX25519PublicKey } from './public-key.ts'
export { appendRecordSignature, keyRecordSigningBytes, signKeyRecord, verifyKeyRecord } from './record-signature.ts'
export { formatKeyRecord, MAX_RECORD_BYTES, MAX_RECORD_LIFE_S, parseKeyRecord } from './record.ts'

export type { KeyBinding } from './binding.ts'
export type { DeviceEpochOptions, Generation } from './derive.ts'
export type { NoiseKeysErrorCode } from './errors.ts'
export type { TransportIdentity } from './identity.ts'
export type { OldReaderVerdict } from './old-reader.ts'
export type { RecordPlace, UnsignedKeyRecord } from './record-signature.ts'
export type {
  KeyRecord, KeyState, ParsedKeyRecord, PlainKeyRecord, RevocationReason, StatefulKeyRecord,
} from './record.ts'

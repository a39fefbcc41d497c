export { KeyFloors } from './floors.ts'
export { assertKeyUsable, assertUsable, DEFAULT_READER_POLICY, isUsable, verifyKeys } from './verify-keys.ts'
export { lookUpKeys, preferredKey } from './lookup.ts'
export { readAsOldReader } from './old-reader.ts'

export type { EquivocationEvidence, IdentityFloor } from './floors.ts'
export type { KeyVerdict, ReaderPolicy, Verdict, VerifyKeysOptions } from './verify-keys.ts'
export type { LookupOptions } from './lookup.ts'
export type { OldReaderVerdict } from './old-reader.ts'

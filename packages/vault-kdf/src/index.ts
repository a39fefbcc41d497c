export { checkMasterKey, derivePartitionKey, fingerprintMasterKey } from './derive.ts'
export { envelopeOverhead, openEnvelope, parseEnvelopeHeader, sealEnvelope, tryOpenEnvelope } from './envelope.ts'
export { VaultError, vaultErrors } from './errors.ts'
export { isKeyState, keyStates } from './key-state.ts'
export { parseKeyringDocument, writeKeyringDocument } from './keyring-document.ts'
export { isLegacyProfile, legacyProfiles, openLegacy, sealLegacyForTest } from './legacy.ts'
export { MAX_ID_BYTES, MAX_KEY_VERSIONS, MAX_PLAINTEXT_BYTES } from './limits.ts'
export {
  defaultScryptLogN, deriveKek, newPassphraseKdf, parsePassphraseKdf, passphraseBytes, passphraseCheck, writePassphraseKdf,
} from './passphrase.ts'
export { checkId, layers } from './place.ts'
export {
  acknowledge, activeVersion, addLegacyMaster, compromise, defaultQuarantineMs, destroy, findEntry, nextVersion, promote, quarantine,
  removeNode, restore, resume, setLegacyPolicy, stage, suspend,
} from './transitions.ts'
export { unwrapMaster, wrapMaster } from './wrap.ts'
export type { PartitionKey } from './derive.ts'
export type { EnvelopeHeader, OpenFailure } from './envelope.ts'
export type { VaultErrorCode } from './errors.ts'
export type { KeyState, KeyUse } from './key-state.ts'
export type { KeyTransition, KeyringDocument, KeyringEntry, KeyringNode, ParsedKeyring } from './keyring-document.ts'
export type { LegacyPlace, LegacyProfile } from './legacy.ts'
export type { GeneratedMaster, MasterKeyProvider, WrapContext } from './master-key-provider.ts'
export type { PassphraseKdf } from './passphrase.ts'
export type { Layer, LayerContext, Place, RecordId } from './place.ts'
export type { DestroyOptions, NewMaster, PromoteOptions } from './transitions.ts'

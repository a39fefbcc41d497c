// For packages that store versions of keys in a document of their own, as a keystore does.
export { hedgedSalt } from '../hedged.ts'
export { parseKeyringDocument, writeKeyringDocument } from '../keyring-document.ts'
export { activeVersion, destroy, findEntry, nextVersion, promote, quarantine, stage } from '../transitions.ts'
export { unwrapMaster, wrapMaster } from '../wrap.ts'

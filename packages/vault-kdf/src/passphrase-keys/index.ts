// For programs that store secrets of their own under a passphrase, as a key file of a vault is.
export {
  deriveKek,
  findKek,
  newPassphraseKdf,
  parsePassphraseKdf,
  passphraseCheck,
  writePassphraseKdf,
} from '../passphrase.ts'
export { passphraseBytes, passphraseForms, passphraseInput } from '../passphrase-forms.ts'

export type { PassphraseKdf } from '../passphrase.ts'

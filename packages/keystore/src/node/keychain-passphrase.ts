import { base64urlEncode, systemRandom, utf8Encode } from '@keyturn/primitives'
import type { RandomSource } from '@keyturn/primitives'
import { VaultError } from '@keyturn/vault-kdf'
import { systemKeychain } from '@keyturn/vault-kdf/node'
import type { Keychain } from '@keyturn/vault-kdf/node'
import { KeystoreError } from '../errors.ts'

/** Options of {@link keychainPassphrase}. */
export interface KeychainPassphraseOptions {
  /** Default: the system's, by the optional dependency `@napi-rs/keyring`. */
  keychain?: Keychain
  /** Default `keyturn`. */
  service?: string
  random?: RandomSource
}

const PASSPHRASE_BYTES = 32

/**
 * The passphrase of a keystore from the keychain of the operating system; a random one is made and kept there the
 * first time. The caller wipes it.
 *
 * @param account - Names the keystore, its path for instance.
 * @throws KeystoreError `KEY_KEYCHAIN` where there is no keychain, or it refuses or forgets.
 */
export async function keychainPassphrase(
  account: string,
  options: KeychainPassphraseOptions = {},
): Promise<Uint8Array> {
  const { service = 'keyturn', random = systemRandom } = options
  try {
    const keychain = options.keychain ?? (await systemKeychain())
    const found = await keychain.get(service, account)
    if (found !== undefined) return utf8Encode(found)
    const made = base64urlEncode(random(PASSPHRASE_BYTES))
    await keychain.set(service, account, made)
    if ((await keychain.get(service, account)) === made) return utf8Encode(made)
  } catch (cause) {
    if (!(cause instanceof VaultError)) throw cause
    throw new KeystoreError('KEY_KEYCHAIN', 'The keychain of this machine cannot be used', { cause, hint: cause.hint })
  }
  throw new KeystoreError('KEY_KEYCHAIN', 'The keychain of this machine did not keep the passphrase')
}

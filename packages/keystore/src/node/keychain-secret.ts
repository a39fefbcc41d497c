import { base64urlEncode, systemRandom, utf8Encode } from '@keyturn/primitives'
import type { RandomSource } from '@keyturn/primitives'
import { VaultError } from '@keyturn/vault-kdf'
import { keychainText } from '@keyturn/vault-kdf/node'
import type { Keychain } from '@keyturn/vault-kdf/node'
import { KeystoreError } from '../errors.ts'
import type { RandomSecret } from '../generations.ts'
import type { PassphraseSource } from './keystore.ts'

/** Options of {@link keychainSecret}. */
export interface KeychainSecretOptions {
  /**
   * Makes a secret where the keychain has none; default false. Only for a keystore that is being made: a fresh secret
   * opens nothing that is there, so a keychain that has lost its secret must be said.
   */
  readonly create?: boolean | undefined
  /** Default: the system's, by the optional dependency `@napi-rs/keyring`. */
  readonly keychain?: Keychain | undefined
  /** Default `keyturn`. */
  readonly service?: string | undefined
  readonly random?: RandomSource | undefined
}

const SECRET_BYTES = 32

/**
 * The random secret of a keystore from the keychain of the operating system. A keystore made with it opens in
 * milliseconds; one that an earlier version made with the same keychain entry as a passphrase opens too.
 *
 * @param account - Names the keystore, its path for instance.
 * @returns Its bytes are the caller's to wipe.
 * @throws KeystoreError `KEY_KEYCHAIN_FORGOT` when it is not there and `create` was not given, `KEY_KEYCHAIN` where
 *   there
 * does not have a keychain that outlives a reboot, or it refuses.
 */
export async function keychainSecret(account: string, options: KeychainSecretOptions = {}): Promise<RandomSecret> {
  return { randomSecret: await keychainPassphrase(account, options) }
}

/**
 * As {@link keychainSecret}, as the bytes of a passphrase: a keystore made with it derives its key slowly.
 *
 * @throws KeystoreError as {@link keychainSecret}.
 */
export async function keychainPassphrase(account: string, options: KeychainSecretOptions = {}): Promise<Uint8Array> {
  const { random = systemRandom } = options
  try {
    return utf8Encode(await keychainText(account, options, () => base64urlEncode(random(SECRET_BYTES))))
  } catch (cause) {
    if (!(cause instanceof VaultError)) throw cause
    const { hint, details } = cause
    if (cause.code === 'VK_KEYCHAIN_FORGOT')
      throw new KeystoreError('KEY_KEYCHAIN_FORGOT', `The keychain has no secret for "${account}"`, {
        cause,
        details,
        hint: 'Restore the keychain of this user, or a backup of the keystore. Nothing was made or changed',
      })
    throw new KeystoreError('KEY_KEYCHAIN', 'The keychain of this machine cannot be used', { cause, details, hint })
  }
}

/**
 * The keychain as the source of {@link openOrCreateKeystore}: makes a secret for a keystore that does not exist yet,
 * and never for one that does.
 *
 * @param options - `account`: default the path of the keystore.
 */
export function fromKeychain(
  options: Omit<KeychainSecretOptions, 'create'> & { readonly account?: string | undefined } = {},
): PassphraseSource {
  const { account, ...rest } = options
  return ({ path, exists }) => keychainSecret(account ?? path, { ...rest, create: !exists })
}

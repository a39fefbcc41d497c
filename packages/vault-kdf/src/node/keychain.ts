import { base64Decode, base64Encode, systemRandom, wipe } from '@keyturn/primitives'
import type { RandomSource } from '@keyturn/primitives'
import { VaultError } from '../errors.ts'
import { KEY_BYTES } from '../limits.ts'
import { kekProvider } from '../memory-provider.ts'
import type { KeyFileProvider } from './key-file.ts'

/** What is used of a keychain: one text under a service and an account. */
export interface Keychain {
  get(service: string, account: string): Promise<string | undefined>
  set(service: string, account: string, value: string): Promise<void>
}

/** The part of `@napi-rs/keyring` that is used. */
interface KeyringModule {
  readonly AsyncEntry: new (
    service: string,
    account: string,
  ) => {
    getPassword(): Promise<string | null | undefined>
    setPassword(value: string): Promise<void>
  }
}

/**
 * The keychain of the operating system (macOS Keychain, Windows Credential Manager, Secret Service on Linux), by the
 * optional dependency `@napi-rs/keyring`.
 *
 * @throws VaultError `VK_PROVIDER` when the package is not installed for this platform.
 */
export async function systemKeychain(): Promise<Keychain> {
  const { AsyncEntry } = await loadKeyring()
  return {
    get: async (service, account) => (await refused(() => new AsyncEntry(service, account).getPassword())) ?? undefined,
    set: (service, account, value) => refused(() => new AsyncEntry(service, account).setPassword(value)),
  }
}

async function loadKeyring(): Promise<KeyringModule> {
  try {
    return (await import('@napi-rs/keyring')) as KeyringModule
  } catch (cause) {
    throw new VaultError('VK_PROVIDER', 'The package @napi-rs/keyring is not installed for this platform', { cause })
  }
}

/** A locked or absent secret service says no at the first use, not at loading. */
async function refused<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (cause) {
    throw new VaultError('VK_PROVIDER', 'The keychain of this machine refused', {
      cause,
      hint: 'Unlock it, or use a key file under a passphrase instead',
    })
  }
}

/** Options of {@link keychainProvider}. */
export interface KeychainProviderOptions {
  /** Default: the system's. */
  keychain?: Keychain
  /** Default `keyturn`. */
  service?: string
  random?: RandomSource
}

/**
 * A provider whose key-encryption key lies in the OS keychain under `account`; made there at the first use.
 *
 * @throws VaultError `VK_PROVIDER`.
 */
export async function keychainProvider(
  account: string,
  options: KeychainProviderOptions = {},
): Promise<KeyFileProvider> {
  const { service = 'keyturn', random = systemRandom } = options
  const keychain = options.keychain ?? (await systemKeychain())
  const kek = await loadOrMake(keychain, service, account, random)
  return { ...kekProvider('keychain', kek, random), dispose: () => wipe(kek) }
}

async function loadOrMake(
  keychain: Keychain,
  service: string,
  account: string,
  random: RandomSource,
): Promise<Uint8Array> {
  const found = await keychain.get(service, account)
  if (found !== undefined) {
    const kek = base64Decode(found)
    if (kek.length !== KEY_BYTES)
      throw new VaultError('VK_PROVIDER', 'The keychain holds something else under this name', {
        details: { service, account },
      })
    return kek
  }
  const kek = random(KEY_BYTES)
  await keychain.set(service, account, base64Encode(kek))
  // Read back: a keychain that forgets would lose every secret with the next start.
  if ((await keychain.get(service, account)) !== base64Encode(kek))
    throw new VaultError('VK_PROVIDER', 'The keychain did not keep the key')
  return kek
}

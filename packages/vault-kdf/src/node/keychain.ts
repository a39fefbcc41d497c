import { base64Decode, base64Encode, systemRandom, wipe } from '@keyturn/primitives'
import type { RandomSource } from '@keyturn/primitives'
import { VaultError } from '../errors.ts'
import { KEY_BYTES } from '../limits.ts'
import { kekProvider } from '../kek-provider.ts'
import type { KeyFileProvider } from './key-file.ts'

const DEFAULT_SERVICE = 'keyturn'

/** What is used of a keychain: one text under a service and an account. */
export interface Keychain {
  get(service: string, account: string): Promise<string | undefined>
  set(service: string, account: string, value: string): Promise<void>
}

/** The part of `@napi-rs/keyring` that is used. */
export interface KeyringModule {
  readonly AsyncEntry: new (
    service: string,
    account: string,
    options?: { linux?: { store?: 'secret-service' | 'keyutils' } },
  ) => {
    getPassword(): Promise<string | null | undefined>
    setPassword(value: string): Promise<void>
  }
}

/**
 * Without this the package falls back to the kernel's keyring where no Secret Service answers. That one lives in
 * memory: what was read back a moment ago is gone with the next boot, and with it everything under the key.
 */
const PERSISTENT = { linux: { store: 'secret-service' } } as const

/**
 * The keychain of the operating system (macOS Keychain, Windows Credential Manager, Secret Service on Linux), by the
 * optional dependency `@napi-rs/keyring`. Only stores that outlive a reboot: on Linux the kernel's keyring is never
 * used.
 *
 * @param load - Loads the package; for tests.
 * @throws VaultError `VK_PROVIDER` when the package is not installed for this platform.
 */
export async function systemKeychain(load: () => Promise<KeyringModule> = loadKeyring): Promise<Keychain> {
  const { AsyncEntry } = await load()
  const entry = (service: string, account: string): InstanceType<KeyringModule['AsyncEntry']> =>
    new AsyncEntry(service, account, PERSISTENT)
  return {
    get: async (service, account) => (await refused(() => entry(service, account).getPassword())) ?? undefined,
    set: (service, account, value) => refused(() => entry(service, account).setPassword(value)),
  }
}

async function loadKeyring(): Promise<KeyringModule> {
  try {
    return (await import('@napi-rs/keyring')) as KeyringModule
  } catch (cause) {
    throw new VaultError('VK_PROVIDER', 'The package @napi-rs/keyring is not installed for this platform', {
      cause,
      hint: 'Install it: npm install @napi-rs/keyring; or use a key file under a passphrase instead',
    })
  }
}

/** A locked or absent secret service says no at the first use, not at loading. */
async function refused<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call() // the constructor throws where the store is absent
  } catch (cause) {
    throw new VaultError('VK_PROVIDER', 'The keychain of this machine cannot be used', {
      cause,
      hint: 'Unlock it (on Linux start a Secret Service, such as gnome-keyring), or use a key file under a passphrase',
    })
  }
}

/** Options of {@link keychainProvider}. */
export interface KeychainProviderOptions {
  /**
   * Makes the key where the keychain has none; default false. Only for a vault that is being made: a fresh key opens
   * nothing that is there, so a keychain that has lost the key must be said.
   */
  readonly create?: boolean | undefined
  /** Default: the system's. */
  readonly keychain?: Keychain | undefined
  /** Default `keyturn`. */
  readonly service?: string | undefined
  readonly random?: RandomSource | undefined
}

/**
 * A provider whose key-encryption key is in the OS keychain under `account`.
 *
 * @throws VaultError `VK_KEYCHAIN_FORGOT` when it is not there and `create` was not given, `VK_PROVIDER`.
 */
export async function keychainProvider(
  account: string,
  options: KeychainProviderOptions = {},
): Promise<KeyFileProvider> {
  const { random = systemRandom } = options
  const kek = await loadOrMake(account, { ...options, random })
  return { ...kekProvider('keychain', kek, random), dispose: () => wipe(kek) }
}

async function loadOrMake(
  account: string,
  options: KeychainProviderOptions & { readonly random: RandomSource },
): Promise<Uint8Array> {
  const text = await keychainText(account, options, () => base64Encode(options.random(KEY_BYTES)))
  const kek = decoded(text)
  if (kek?.length === KEY_BYTES) return kek
  throw new VaultError('VK_PROVIDER', 'The keychain holds something else under this name', {
    details: { service: options.service ?? DEFAULT_SERVICE, account },
    hint: 'Give the vault another account name, or remove that entry if nothing needs it',
  })
}

function decoded(text: string): Uint8Array | undefined {
  try {
    return base64Decode(text)
  } catch {
    return undefined // a text of another program
  }
}

/**
 * The text that a keychain keeps under a name, made there first when that is allowed.
 *
 * @param make - Makes the text; called only with `create` and where there is none.
 * @throws VaultError `VK_KEYCHAIN_FORGOT`, `VK_PROVIDER`.
 */
export async function keychainText(
  account: string,
  options: KeychainProviderOptions,
  make: () => string,
): Promise<string> {
  const { service = DEFAULT_SERVICE, create = false } = options
  const keychain = options.keychain ?? (await systemKeychain())
  const found = await keychain.get(service, account)
  if (found !== undefined) return found
  if (!create)
    throw new VaultError('VK_KEYCHAIN_FORGOT', `The keychain has no key for "${account}"`, {
      details: { service, account },
      hint:
        'Restore the keychain of this user, or open a backup that is under a passphrase. Nothing was made or ' +
        'changed',
    })
  const made = make()
  await keychain.set(service, account, made)
  // Read back: a keychain that forgets at once would lose every secret with the next start.
  if ((await keychain.get(service, account)) === made) return made
  throw new VaultError('VK_PROVIDER', 'The keychain did not keep the key', { details: { service, account } })
}

import { deriveKek, kekProvider, newPassphraseKdf, parsePassphraseKdf, passphraseBytes, Vault, VaultError, writePassphraseKdf } from '@keyturn/vault-kdf'
import type { MasterKeyProvider, PassphraseKdf } from '@keyturn/vault-kdf'
import { wipe } from '@keyturn/primitives'
import type { RandomSource } from '@keyturn/primitives'
import { ServerError } from '../errors.ts'
import type { MetadataStore } from '../storage/metadata-store.ts'
import { VaultRecords } from './vault-records.ts'

/** How the vault of the server is opened. */
export interface VaultSettings {
  /** Passphrase, as text or bytes. */
  readonly passphrase: string | Uint8Array
  /** Cost of the passphrase, as a power of two; default 17. Lower only in tests. */
  readonly scryptLogN?: number
}

/** Whoever writes to the metadata store must not make the passphrase cheap to guess. */
function strongEnough(kdf: PassphraseKdf, settings: VaultSettings): PassphraseKdf {
  const strong = kdf.algorithm === 'scrypt' && kdf.logN >= 15 && kdf.r >= 8
  if (strong || settings.scryptLogN !== undefined) return kdf
  throw new ServerError('SRV_CONFIG', 'The stored parameters of the vault passphrase are below scrypt 2^15, r 8: they are not what this server writes')
}

async function providerOf(metadata: MetadataStore, settings: VaultSettings, random: RandomSource): Promise<MasterKeyProvider> {
  const kdf = await metadata.transaction(['vault'], async (records) => {
    const stored = (await records.get('settings', 'vault-passphrase'))?.value
    if (stored !== undefined) return strongEnough(parsePassphraseKdf(stored), settings)
    const fresh = newPassphraseKdf(random, settings.scryptLogN)
    await records.put('settings', { key: 'vault-passphrase', value: writePassphraseKdf(fresh) })
    return fresh
  })
  const passphrase = passphraseBytes(settings.passphrase)
  try {
    return kekProvider('passphrase', deriveKek(passphrase, kdf), random)
  } finally {
    wipe(passphrase)
  }
}

/**
 * Opens the vault that seals runtime keys and transport keys at rest, or makes it.
 *
 * @throws VaultError, `VK_KEYRING` for a wrong passphrase; ServerError `SRV_CONFIG` for stored parameters that are too weak.
 */
export async function openServerVault(metadata: MetadataStore, settings: VaultSettings, random: RandomSource): Promise<Vault> {
  const provider = await providerOf(metadata, settings, random)
  const store = new VaultRecords(metadata)
  try {
    return await Vault.open(store, provider, { random })
  } catch (error) {
    if (!(error instanceof VaultError) || error.code !== 'VK_NOT_FOUND') throw error
    return Vault.create(store, provider, { random })
  }
}

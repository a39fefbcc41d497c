import { deriveKek, kekProvider, newPassphraseKdf, parsePassphraseKdf, passphraseBytes, Vault, VaultError, writePassphraseKdf } from '@keyturn/vault-kdf'
import type { MasterKeyProvider } from '@keyturn/vault-kdf'
import { wipe } from '@keyturn/primitives'
import type { RandomSource } from '@keyturn/primitives'
import type { MetadataStore } from '../storage/metadata-store.ts'
import { VaultRecords } from './vault-records.ts'

/** How the vault of the server is opened. */
export interface VaultSettings {
  /** Passphrase, as text or bytes. */
  readonly passphrase: string | Uint8Array
  /** Cost of the passphrase, as a power of two; default 17. Lower only in tests. */
  readonly scryptLogN?: number
}

async function providerOf(metadata: MetadataStore, settings: VaultSettings, random: RandomSource): Promise<MasterKeyProvider> {
  const kdf = await metadata.transaction(['vault'], async (records) => {
    const stored = (await records.get('settings', 'vault-passphrase'))?.value
    if (stored !== undefined) return parsePassphraseKdf(stored)
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
 * @throws VaultError, `VK_KEYRING` for a wrong passphrase.
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

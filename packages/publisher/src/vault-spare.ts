import { rm } from 'node:fs/promises'
import { pathExists } from '@keyturn/primitives/node'
import { Vault, VaultError } from '@keyturn/vault-kdf'
import { copyKeyFile, openKeyFile } from '@keyturn/vault-kdf/node'
import { PublisherError } from './errors.ts'
import type { PublisherHost } from './session.ts'
import { openVaultStore, vaultPaths } from './vault-location.ts'
import type { VaultFlags } from './vault-location.ts'

/** Passphrases of a vault and of its spare key file; neither kept nor modified. */
export interface SparePassphrases {
  /** Of the vault: at present, or from now on. */
  readonly vault: Uint8Array
  /** Of the spare key file. */
  readonly spare: Uint8Array
}

/**
 * Refuses a vault of which no spare key can be made now.
 *
 * @throws `VK_NOT_FOUND`, `CLI_EXISTS`.
 */
export async function checkSpare(host: PublisherHost, flags: VaultFlags): Promise<void> {
  const { keyFile, spareFile } = vaultPaths(host, flags)
  if (!(await pathExists(keyFile)))
    throw new VaultError('VK_NOT_FOUND', `Key file "${keyFile}" does not exist`, {
      hint: 'A key in the keychain has no spare: make the vault without --keychain',
    })
  if (await pathExists(spareFile))
    throw new PublisherError('CLI_EXISTS', `"${spareFile}" is already there, and shares may open it`, {
      hint: 'Remove it when its shares are void; then make new ones',
    })
}

/**
 * Makes the spare key file of a vault, and opens it once.
 *
 * @returns Where it is.
 * @throws VaultError `VK_PASSPHRASE`, `VK_STORE_IO`; as {@link checkSpare}.
 */
export async function makeSpare(
  host: PublisherHost,
  flags: VaultFlags,
  { vault, spare }: SparePassphrases,
): Promise<string> {
  await checkSpare(host, flags)
  const { keyFile, spareFile } = vaultPaths(host, flags)
  await copyKeyFile(keyFile, vault, { path: spareFile, passphrase: spare })
  try {
    const opened = await openKeyFile(spareFile, spare)
    opened.dispose()
  } catch (error) {
    await rm(spareFile, { force: true })
    throw error
  }
  return spareFile
}

/**
 * Puts a vault under a new passphrase by its spare key file: for a passphrase that was lost. The vault is opened first,
 * so that a spare of another one replaces nothing.
 *
 * @throws VaultError `VK_NOT_FOUND`, `VK_PASSPHRASE` (shares of another spare), `VK_KEYRING` (a spare of another
 * vault), `VK_STORE_BUSY`.
 */
export async function useSpare(
  host: PublisherHost,
  flags: VaultFlags,
  { vault, spare }: SparePassphrases,
): Promise<void> {
  const paths = vaultPaths(host, flags)
  const provider = await openKeyFile(paths.spareFile, spare)
  try {
    const { store, audit, close } = await openVaultStore(paths)
    try {
      const opened = await Vault.open(store, provider, { audit: { store: audit }, clock: host.clock })
      await opened.close()
    } finally {
      await close()
    }
  } finally {
    provider.dispose()
  }
  await copyKeyFile(paths.spareFile, spare, { path: paths.keyFile, passphrase: vault, overwrite: true })
}

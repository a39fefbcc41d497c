import { KeystoreError } from '@keyturn/keystore'
import { openKeystore } from '@keyturn/keystore/node'
import { pathExists } from '@keyturn/primitives/node'
import { VaultError } from '@keyturn/vault-kdf'
import { changeKeyFilePassphrase, openKeyFile } from '@keyturn/vault-kdf/node'
import { homePaths, readHome } from './home.ts'
import { nextKeyPath } from './home-session.ts'
import { knownVaults } from './known-vaults.ts'
import { listNamedIdentities, namedIdentityFiles } from './identity/identity.ts'
import type { PublisherHost } from './session.ts'
import { vaultPaths } from './vault-location.ts'

/** A file of a home that a passphrase opens. */
export interface ProtectedFile {
  readonly kind: 'keystore' | 'next-key' | 'vault'
  /** For people: `keystore of the home`. */
  readonly what: string
  readonly path: string
}

/** What became of one file. */
export interface ChangedFile extends ProtectedFile {
  /**
   * `already`: the new passphrase opens it; `other`: neither does; `missing`: it is not there, on another medium
   * perhaps.
   */
  readonly outcome: 'changed' | 'already' | 'other' | 'missing'
}

/**
 * The files of one named identity that a passphrase opens.
 *
 * @param host - Whose home it is.
 * @param alias - Of its current key, or its prefix.
 * @returns undefined when there is no such identity.
 */
export async function protectedFilesOf(host: PublisherHost, alias: string): Promise<ProtectedFile[] | undefined> {
  const named = await listNamedIdentities(host.homeFolder)
  const found = named.find((one) => one.alias === alias || one.prefix === alias)
  return found === undefined ? undefined : await filesOfNamed(host, found)
}

async function filesOfNamed(
  host: PublisherHost,
  { alias, prefix }: { readonly alias: string; readonly prefix: string },
): Promise<ProtectedFile[]> {
  const { keystore, next } = await namedIdentityFiles(host.homeFolder, prefix)
  return [
    { kind: 'keystore', what: `keystore of the identity "${alias}"`, path: keystore },
    ...next.map((path): ProtectedFile => ({ kind: 'next-key', what: `next key of the identity "${alias}"`, path })),
  ]
}

/**
 * Every file of a home that a passphrase opens: keystores, files with next keys, the vault, those of named identities,
 * and vaults elsewhere that were made or opened with it.
 *
 * @param host - Whose home it is.
 */
export async function protectedFiles(host: PublisherHost): Promise<ProtectedFile[]> {
  const found: ProtectedFile[] = []
  const paths = homePaths(host.homeFolder)
  if (await pathExists(paths.description)) {
    const description = await readHome(host.homeFolder)
    found.push({ kind: 'keystore', what: 'keystore of the home', path: paths.keystore })
    found.push({ kind: 'next-key', what: 'next identity key', path: nextKeyPath(host.homeFolder, description) })
  }
  for (const named of await listNamedIdentities(host.homeFolder)) found.push(...(await filesOfNamed(host, named)))
  const { keyFile } = vaultPaths(host, {})
  if (await pathExists(keyFile)) found.push({ kind: 'vault', what: 'vault of the home', path: keyFile })
  for (const path of await knownVaults(host.homeFolder)) found.push({ kind: 'vault', what: 'vault', path })
  return found
}

/**
 * Puts files under another passphrase, one after another. A call that was interrupted is repeated with the same two
 * passphrases: what it has changed already is left as it is.
 *
 * @param from - Opens them now; not modified.
 * @param to - Opens them from then on; not modified.
 */
export async function changePassphrases(
  files: readonly ProtectedFile[],
  from: Uint8Array,
  to: Uint8Array,
): Promise<ChangedFile[]> {
  const changed: ChangedFile[] = []
  for (const file of files) changed.push({ ...file, outcome: await changeOne(file, from, to) })
  return changed
}

async function changeOne(file: ProtectedFile, from: Uint8Array, to: Uint8Array): Promise<ChangedFile['outcome']> {
  if (!(await pathExists(file.path))) return 'missing'
  if (await opensWith(file, from, (store) => store(to))) return 'changed'
  return (await opensWith(file, to)) ? 'already' : 'other'
}

/** Whether a passphrase opens a file, and puts it under another one where `change` says so. */
async function opensWith(
  { kind, path }: ProtectedFile,
  passphrase: Uint8Array,
  change?: (store: (to: Uint8Array) => Promise<void>) => Promise<void>,
): Promise<boolean> {
  try {
    if (kind === 'vault') {
      if (change === undefined) (await openKeyFile(path, passphrase)).dispose()
      else await change((to) => changeKeyFilePassphrase(path, passphrase, to))
      return true
    }
    const keystore = await openKeystore(path, passphrase, { keepPrevious: kind === 'keystore' })
    try {
      await change?.((to) => keystore.changePassphrase(to))
    } finally {
      keystore.close()
    }
    return true
  } catch (error) {
    const code = error instanceof KeystoreError || error instanceof VaultError ? error.code : undefined
    if (code === 'KEY_PASSPHRASE' || code === 'VK_PASSPHRASE') return false
    throw error
  }
}

import { mkdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { wipe } from '@keyturn/primitives'
import { pathExists } from '@keyturn/primitives/node'
import { Vault, VaultError } from '@keyturn/vault-kdf'
import type { AuditStore, MasterKeyProvider, VaultOptions, VaultStore } from '@keyturn/vault-kdf'
import { FileAuditStore, FolderStore, createKeyFile, keychainProvider, openKeyFile } from '@keyturn/vault-kdf/node'
import type { PublisherHost } from './session.ts'
import { PublisherError } from './errors.ts'

/** Flags that say which vault is meant. */
export interface VaultFlags {
  /** Folder, or file ending in `.db` or `.sqlite`. */
  readonly vault?: string
  /** The key-encryption key lies in the OS keychain instead of a key file under a passphrase. */
  readonly keychain?: boolean
}

/** Where the parts of a vault lie. */
interface VaultPaths {
  readonly path: string
  readonly database: boolean
  readonly keyFile: string
  readonly auditFile: string
}

/** The paths of a vault. */
export function vaultPaths(host: PublisherHost, flags: VaultFlags): VaultPaths {
  const path = resolve(flags.vault ?? join(host.homeFolder, 'vault'))
  const database = /\.(db|sqlite)$/.test(path)
  return {
    path,
    database,
    keyFile: database ? `${path}.key` : join(path, 'vault.key'),
    auditFile: join(path, 'audit.jsonl'),
  }
}

/** The ids of gated layers come from flags: the token that commands pass is those ids themselves. */
const resolver: NonNullable<VaultOptions['resolver']> = {
  resolve(token) {
    const { policy, session } = JSON.parse(token) as { policy?: string; session?: string }
    return { policy, session }
  },
}

/**
 * Makes a vault where none is.
 *
 * @throws `PRIM_EXISTS`, `VK_CONFLICT`.
 */
export async function createVault(host: PublisherHost, flags: VaultFlags): Promise<Vault> {
  const paths = vaultPaths(host, flags)
  if (await vaultExists(paths)) throw new PublisherError('CLI_EXISTS', `There is a vault in "${paths.path}" already`)
  await mkdir(paths.database ? resolve(paths.path, '..') : paths.path, { recursive: true, mode: 0o700 })
  const { store, audit } = await openStore(host, paths)
  const provider = await newProvider(host, flags, paths)
  return closeLater(host, await Vault.create(store, provider, { resolver, audit: { store: audit }, clock: host.clock }))
}

/**
 * Opens a vault; it is closed when the command is over.
 *
 * @throws VaultError `VK_NOT_FOUND`, `VK_PASSPHRASE`, `VK_STORE_BUSY`.
 */
export async function openVault(host: PublisherHost, flags: VaultFlags): Promise<Vault> {
  const paths = vaultPaths(host, flags)
  if (!(await vaultExists(paths))) {
    throw new VaultError('VK_NOT_FOUND', `There is no vault in "${paths.path}"`, {
      hint: 'Make one with "keyturn vault init", or give --vault',
    })
  }
  const { store, audit } = await openStore(host, paths)
  const provider = await oldProvider(host, flags, paths)
  return closeLater(host, await Vault.open(store, provider, { resolver, audit: { store: audit }, clock: host.clock }))
}

/** Whether the home of this command has a vault of its own. */
export async function vaultExists(paths: VaultPaths): Promise<boolean> {
  return pathExists(paths.database ? paths.path : join(paths.path, 'segment-00000001.log')).then(
    async (found) => found || (await pathExists(paths.keyFile)),
  )
}

async function openStore(host: PublisherHost, paths: VaultPaths): Promise<{ store: VaultStore; audit: AuditStore }> {
  if (paths.database) {
    const { SqliteAuditStore, SqliteStore } = await import('@keyturn/vault-kdf/sqlite')
    const store = SqliteStore.open(paths.path)
    host.defer(() => store.close())
    return { store, audit: new SqliteAuditStore(store.database) }
  }
  const store = await FolderStore.open(paths.path, { lockWaitMs: 2_000 })
  const audit = new FileAuditStore(paths.auditFile)
  host.defer(async () => {
    await store.close()
    await audit.close()
  })
  return { store, audit }
}

async function newProvider(host: PublisherHost, flags: VaultFlags, paths: VaultPaths): Promise<MasterKeyProvider> {
  if (flags.keychain === true) return keychainProvider(paths.path)
  const passphrase = await host.passphrase('New passphrase of the vault', { fresh: true })
  try {
    return await createKeyFile(paths.keyFile, passphrase)
  } finally {
    wipe(passphrase)
  }
}

async function oldProvider(host: PublisherHost, flags: VaultFlags, paths: VaultPaths): Promise<MasterKeyProvider> {
  if (flags.keychain === true) return keychainProvider(paths.path)
  const passphrase = await host.passphrase('Passphrase of the vault')
  try {
    return await openKeyFile(paths.keyFile, passphrase)
  } finally {
    wipe(passphrase)
  }
}

function closeLater(host: PublisherHost, vault: Vault): Vault {
  host.defer(() => vault.close())
  return vault
}

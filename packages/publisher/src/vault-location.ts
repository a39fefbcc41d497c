import { mkdir, readdir, rm, rmdir } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { wipe } from '@keyturn/primitives'
import { isMissing, pathExists } from '@keyturn/primitives/node'
import { Vault, VaultError } from '@keyturn/vault-kdf'
import type { AuditStore, MasterKeyProvider, VaultOptions, VaultStore } from '@keyturn/vault-kdf'
import {
  FileAuditStore,
  FolderStore,
  createKeyFile,
  folderStoreExists,
  keychainProvider,
  openKeyFile,
  readVaultPolicy,
} from '@keyturn/vault-kdf/node'
import type { Keychain } from '@keyturn/vault-kdf/node'
import type { PublisherHost } from './session.ts'
import { PublisherError } from './errors.ts'
import { rememberVault } from './known-vaults.ts'

/** Flags that say which vault is meant. */
export interface VaultFlags {
  /** Folder, or file ending in `.db` or `.sqlite`. */
  readonly vault?: string | undefined
  /** The key-encryption key is in the OS keychain instead of a key file under a passphrase. */
  readonly keychain?: boolean | undefined
}

/** Where the parts of a vault lie. */
interface VaultPaths {
  readonly path: string
  readonly database: boolean
  readonly keyFile: string
  readonly auditFile: string
  /** A second key file of the same vault, which shares open; there need not be one. */
  readonly spareFile: string
  /** Rules for rotations and for what cannot be undone; there need not be one. */
  readonly policyFile: string
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
    spareFile: database ? `${path}.spare.key` : join(path, 'spare.key'),
    policyFile: database ? `${path}.policy.json` : join(path, 'policy.json'),
  }
}

/** The ids of gated layers come from flags: the token that commands pass is those ids themselves. */
const resolver: NonNullable<VaultOptions['resolver']> = {
  resolve(token) {
    const { policy, session } = JSON.parse(token) as { policy?: string; session?: string }
    return { policy, session }
  },
}

/** What a program brings in place of the system's. */
export interface VaultParts {
  /** Default: the keychain of the operating system. */
  readonly keychain?: Keychain | undefined
}

/**
 * Makes a vault where there is none. When it fails, without a keychain for example, nothing of it is left.
 *
 * @throws `CLI_EXISTS`, `VK_PROVIDER`, `VK_STORE_IO`, `VK_AUDIT`.
 */
export async function createVault(host: PublisherHost, flags: VaultFlags, parts: VaultParts = {}): Promise<Vault> {
  const paths = vaultPaths(host, flags)
  if (await vaultExists(paths)) throw new PublisherError('CLI_EXISTS', `There is a vault in "${paths.path}" already`)
  const key = await newKey(host, flags, paths, parts) // the question and the keychain come before anything is made
  const undo = await undoOf(paths)
  let opened: OpenedStore | undefined
  try {
    await mkdir(folderOf(paths), { recursive: true, mode: 0o700 })
    const provider = await key()
    opened = await openVaultStore(paths)
    const { store, audit } = opened
    const vault = await Vault.create(store, provider, { resolver, audit: { store: audit }, clock: host.clock })
    if (flags.keychain !== true) await rememberVault(host.homeFolder, paths.keyFile)
    host.defer(opened.close)
    return closeLater(host, vault)
  } catch (error) {
    await opened?.close()
    await undo()
    throw error
  }
}

/**
 * Opens a vault; it is closed when the command is over.
 *
 * @throws VaultError `VK_NOT_FOUND`, `VK_PASSPHRASE`, `VK_KEYCHAIN_FORGOT`, `VK_STORE_BUSY`, `VK_POLICY_FORM`.
 */
export async function openVault(host: PublisherHost, flags: VaultFlags, parts: VaultParts = {}): Promise<Vault> {
  const paths = vaultPaths(host, flags)
  if (!(await vaultExists(paths))) {
    throw new VaultError('VK_NOT_FOUND', `There is no vault in "${paths.path}"`, {
      hint: 'Make one with "keyturn vault init", or give --vault',
    })
  }
  const policy = await readVaultPolicy(paths.policyFile)
  const { store, audit, close } = await openVaultStore(paths)
  host.defer(close)
  const provider = await oldProvider(host, flags, paths, parts)
  if (flags.keychain !== true) await rememberVault(host.homeFolder, paths.keyFile)
  const vault = await Vault.open(store, provider, {
    resolver,
    audit: { store: audit, ...(policy === undefined ? {} : { actor: userName() }) },
    policy,
    clock: host.clock,
  })
  return closeLater(host, vault)
}

/** The account that a policy knows people by; empty where the system has no name for it. */
function userName(): string {
  try {
    return userInfo().username
  } catch {
    return ''
  }
}

/** Whether there is a vault, or a part of one. */
export async function vaultExists(paths: VaultPaths): Promise<boolean> {
  const hasStore = paths.database ? await pathExists(paths.path) : await folderStoreExists(paths.path)
  return hasStore || (await pathExists(paths.keyFile))
}

interface OpenedStore {
  readonly store: VaultStore
  readonly audit: AuditStore
  close(): Promise<void>
}

/** Opens the files of a vault; its keys are another matter. */
export async function openVaultStore(paths: VaultPaths): Promise<OpenedStore> {
  if (paths.database) {
    const { SqliteAuditStore, SqliteStore } = await import('@keyturn/vault-kdf/sqlite')
    const store = SqliteStore.open(paths.path)
    return { store, audit: new SqliteAuditStore(store.database), close: () => store.close() }
  }
  const store = await FolderStore.open(paths.path, { lockWaitMs: 2_000 })
  const audit = new FileAuditStore(paths.auditFile)
  return {
    store,
    audit,
    async close() {
      await store.close()
      await audit.close()
    },
  }
}

function folderOf(paths: VaultPaths): string {
  return paths.database ? dirname(paths.path) : paths.path
}

/**
 * Notes what is there now. The function it returns removes what a failed attempt added: files of a vault by their
 * names, and the folders that were made for them, when they are empty.
 */
async function undoOf(paths: VaultPaths): Promise<() => Promise<void>> {
  const folder = folderOf(paths)
  const own = (name: string): boolean =>
    paths.database
      ? ['', '-wal', '-shm', '-journal', '.key'].includes(name.slice(basename(paths.path).length)) &&
        name.startsWith(basename(paths.path))
      : /^(segment-\d+\.log|lock|audit\.jsonl|vault\.key)$/.test(name)
  const before = new Set(await namesIn(folder))
  const missing = await missingFolders(folder)
  return async () => {
    for (const name of await namesIn(folder))
      if (own(name) && !before.has(name)) await rm(join(folder, name), { force: true })
    for (const made of missing) await rmdir(made).catch(() => undefined) // somebody else uses it: it stays
  }
}

async function namesIn(folder: string): Promise<string[]> {
  return readdir(folder).catch((error: unknown) => {
    if (isMissing(error)) return []
    throw error
  })
}

/** The folders of a path that do not exist yet, the innermost first. */
async function missingFolders(folder: string): Promise<string[]> {
  const missing: string[] = []
  for (let at = folder; !(await pathExists(at)) && dirname(at) !== at; at = dirname(at)) missing.push(at)
  return missing
}

/** Asks for all that the key needs, and returns what makes it: a key file is written only then. */
async function newKey(
  host: PublisherHost,
  flags: VaultFlags,
  paths: VaultPaths,
  parts: VaultParts,
): Promise<() => Promise<MasterKeyProvider>> {
  if (flags.keychain === true) {
    const provider = await keychainProvider(paths.path, { ...parts, create: true })
    return async () => provider
  }
  const passphrase = await host.passphrase('New passphrase of the vault', { fresh: true })
  return async () => {
    try {
      return await createKeyFile(paths.keyFile, passphrase)
    } finally {
      wipe(passphrase)
    }
  }
}

async function oldProvider(
  host: PublisherHost,
  flags: VaultFlags,
  paths: VaultPaths,
  parts: VaultParts,
): Promise<MasterKeyProvider> {
  if (flags.keychain === true) return keychainProvider(paths.path, parts)
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

import { createReadStream } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { wipe } from '@keyturn/primitives'
import { pathExists } from '@keyturn/primitives/node'
import { Vault, VaultError, layers } from '@keyturn/vault-kdf'
import type { AuditStore, Layer, MasterKeyProvider, VaultOptions, VaultStore } from '@keyturn/vault-kdf'
import { FileAuditStore, FolderStore, createKeyFile, keychainProvider, openKeyFile } from '@keyturn/vault-kdf/node'
import type { Command } from 'commander'
import type { Context } from '../command.ts'
import { CliError } from '../errors.ts'

/** Flags that say which vault is meant. */
export interface VaultFlags {
  /** Folder, or file ending in `.db` or `.sqlite`. */
  readonly vault?: string
  /** The key-encryption key lies in the OS keychain instead of a key file under a passphrase. */
  readonly keychain?: boolean
}

/** Adds the flags of {@link VaultFlags}. */
export function withVault(command: Command): Command {
  return command
    .option(
      '--vault <path>',
      'folder of the vault, or an SQLite file ending in .db or .sqlite (default: "vault" in the home)',
    )
    .option('--keychain', 'the key of the vault lies in the keychain of this machine, not under a passphrase')
}

/** Where the parts of a vault lie. */
interface VaultPaths {
  readonly path: string
  readonly database: boolean
  readonly keyFile: string
  readonly auditFile: string
}

/** The paths of a vault. */
export function vaultPaths(context: Context, flags: VaultFlags): VaultPaths {
  const path = resolve(flags.vault ?? join(context.homeFolder, 'vault'))
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
export async function createVault(context: Context, flags: VaultFlags): Promise<Vault> {
  const paths = vaultPaths(context, flags)
  if (await vaultExists(paths)) throw new CliError('CLI_EXISTS', `There is a vault in "${paths.path}" already`)
  await mkdir(paths.database ? resolve(paths.path, '..') : paths.path, { recursive: true, mode: 0o700 })
  const { store, audit } = await openStore(context, paths)
  const provider = await newProvider(context, flags, paths)
  return closeLater(
    context,
    await Vault.create(store, provider, { resolver, audit: { store: audit }, clock: context.clock }),
  )
}

/**
 * Opens a vault; it is closed when the command is over.
 *
 * @throws VaultError `VK_NOT_FOUND`, `VK_PASSPHRASE`, `VK_STORE_BUSY`.
 */
export async function openVault(context: Context, flags: VaultFlags): Promise<Vault> {
  const paths = vaultPaths(context, flags)
  if (!(await vaultExists(paths))) {
    throw new VaultError('VK_NOT_FOUND', `There is no vault in "${paths.path}"`, {
      hint: 'Make one with "keyturn vault init", or give --vault',
    })
  }
  const { store, audit } = await openStore(context, paths)
  const provider = await oldProvider(context, flags, paths)
  return closeLater(
    context,
    await Vault.open(store, provider, { resolver, audit: { store: audit }, clock: context.clock }),
  )
}

/** Whether the home of this command has a vault of its own. */
export async function vaultExists(paths: VaultPaths): Promise<boolean> {
  return pathExists(paths.database ? paths.path : join(paths.path, 'segment-00000001.log')).then(
    async (found) => found || (await pathExists(paths.keyFile)),
  )
}

async function openStore(context: Context, paths: VaultPaths): Promise<{ store: VaultStore; audit: AuditStore }> {
  if (paths.database) {
    const { SqliteAuditStore, SqliteStore } = await import('@keyturn/vault-kdf/sqlite')
    const store = SqliteStore.open(paths.path)
    context.defer(() => store.close())
    return { store, audit: new SqliteAuditStore(store.database) }
  }
  const store = await FolderStore.open(paths.path, { lockWaitMs: 2_000 })
  const audit = new FileAuditStore(paths.auditFile)
  context.defer(async () => {
    await store.close()
    await audit.close()
  })
  return { store, audit }
}

async function newProvider(context: Context, flags: VaultFlags, paths: VaultPaths): Promise<MasterKeyProvider> {
  if (flags.keychain === true) return keychainProvider(paths.path)
  const passphrase = await context.ask.passphrase('New passphrase of the vault', { fresh: true })
  try {
    return await createKeyFile(paths.keyFile, passphrase)
  } finally {
    wipe(passphrase)
  }
}

async function oldProvider(context: Context, flags: VaultFlags, paths: VaultPaths): Promise<MasterKeyProvider> {
  if (flags.keychain === true) return keychainProvider(paths.path)
  const passphrase = await context.ask.passphrase('Passphrase of the vault')
  try {
    return await openKeyFile(paths.keyFile, passphrase)
  } finally {
    wipe(passphrase)
  }
}

function closeLater(context: Context, vault: Vault): Vault {
  context.defer(() => vault.close())
  return vault
}

/** Flags that say where a record lies and what its layer needs. */
export interface PlaceFlags extends VaultFlags {
  readonly partition: string
  readonly layer: string
  readonly policy?: string
  readonly session?: string
}

/** Adds the flags of {@link PlaceFlags}. */
export function withPlace(command: Command): Command {
  return withVault(command)
    .option('--partition <id>', 'partition: a tenant, an application', 'default')
    .option('--layer <name>', 'rest, access (needs --policy) or session (needs --policy and --session)', 'rest')
    .option('--policy <id>', 'access policy id')
    .option('--session <id>', 'session id')
}

/** The layer of a flag. */
export function layerOf(name: string): Layer {
  const known: Readonly<Record<string, Layer>> = {
    rest: layers.atRest,
    access: layers.accessGated,
    session: layers.sessionBound,
  }
  const layer = known[name]
  if (layer === undefined) throw new CliError('CLI_USAGE', '--layer wants rest, access or session')
  return layer
}

/** The ids of the flags as a token for the vault of a command; nothing when there are none. */
export function tokenOf(policy: string | undefined, session: string | undefined): { token?: string } {
  return policy === undefined && session === undefined ? {} : { token: JSON.stringify({ policy, session }) }
}

const maxInputBytes = 64 * 1024 * 1024

/** What is to be sealed: a file, or stdin (never a flag's value). */
export async function readInput(file: string | undefined): Promise<Uint8Array> {
  const stream = file === undefined || file === '-' ? process.stdin : createReadStream(resolve(file))
  const parts: Buffer[] = []
  let length = 0
  for await (const part of stream as AsyncIterable<Buffer>) {
    parts.push(part)
    length += part.length
    if (length > maxInputBytes) throw new VaultError('VK_LIMIT', `The input is over ${maxInputBytes} bytes`)
  }
  const bytes = new Uint8Array(length)
  let offset = 0
  for (const part of parts) {
    bytes.set(part, offset)
    offset += part.length
    wipe(part)
  }
  return bytes
}

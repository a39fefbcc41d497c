import { createReadStream } from 'node:fs'
import { resolve } from 'node:path'
import { wipe } from '@keyturn/primitives'
import { VaultError, layers } from '@keyturn/vault-kdf'
import type { Layer } from '@keyturn/vault-kdf'
import type { VaultFlags } from '@keyturn/publisher/vault'
import type { Command } from 'commander'
import { CliError } from '../errors.ts'

/** Adds the flags of {@link VaultFlags}. */
export function withVault(command: Command): Command {
  return command
    .option(
      '--vault <path>',
      'folder of the vault, or an SQLite file ending in .db or .sqlite (default: "vault" in the home)',
    )
    .option('--keychain', 'the key of the vault is in the keychain of this machine, not under a passphrase')
}

/** Flags that say where a record is and what its layer needs. */
export interface PlaceFlags extends VaultFlags {
  readonly partition: string
  readonly layer: string
  readonly policy?: string | undefined
  readonly session?: string | undefined
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

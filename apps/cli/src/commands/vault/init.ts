import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { withVault } from '../../flags/vault.ts'
import { createVault, vaultPaths } from '@keyturn/publisher/vault'
import type { VaultFlags } from '@keyturn/publisher/vault'

/** Registers the command `init`. */
export function registerVaultInit(vault: Command, cli: Cli): void {
  cli.define<VaultFlags>(
    withVault(vault.command('init').description('make a vault: a store, a key and an audit chain')),
    {
      example: ['keyturn vault init', 'keyturn vault init --vault secrets.db'],
      run: initVault,
    },
  )
}

async function initVault(context: Context, flags: VaultFlags): Promise<CommandResult> {
  const vault = await createVault(context, flags)
  const { path } = vaultPaths(context, flags)
  return {
    data: { vault: path, id: vault.id, key_version: vault.keys.active },
    text: `Vault ${vault.id} made in ${path}, key version 1 active.`,
  }
}

import type { Command } from 'commander'
import type { Cli } from '../../../command.ts'
import { registerVaultSharesMake } from './make.ts'
import { registerVaultSharesUse } from './use.ts'

/** Registers `keyturn vault shares …`. */
export function registerVaultShares(vault: Command, cli: Cli): void {
  const shares = vault
    .command('shares')
    .description('make and use a spare key of the vault that only several people open together')
  registerVaultSharesMake(shares, cli)
  registerVaultSharesUse(shares, cli)
}

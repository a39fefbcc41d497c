import type { Command } from 'commander'
import type { Cli } from '../command.ts'
import { registerVaultAudit } from './vault-audit.ts'
import { registerVaultKeys } from './vault-keys.ts'
import { registerVaultRecords } from './vault-records.ts'

/** Registers `keyturn vault …`. */
export function registerVault(program: Command, cli: Cli): void {
  const vault = program.command('vault').description('secrets at rest under a master key that turns with no downtime')
  registerVaultRecords(vault, cli)
  registerVaultKeys(vault, cli)
  registerVaultAudit(vault, cli)
}

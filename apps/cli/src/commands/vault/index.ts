import type { Command } from 'commander'
import type { Cli } from '../../command.ts'
import { registerVaultAudit } from './audit.ts'
import { registerVaultKeys } from './keys.ts'
import { registerVaultRecords } from './records.ts'

/** Registers `keyturn vault …`. */
export function registerVault(program: Command, cli: Cli): void {
  const vault = program.command('vault').description('secrets at rest under a master key that turns with no downtime')
  registerVaultRecords(vault, cli)
  registerVaultKeys(vault, cli)
  registerVaultAudit(vault, cli)
}

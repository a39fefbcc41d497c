import type { Command } from 'commander'
import type { Cli } from '../../command.ts'
import { registerVaultAuditVerify } from './audit-verify.ts'
import { registerVaultAuditList } from './audit-list.ts'
import { registerVaultAuditCheckpoint } from './audit-checkpoint.ts'

/** Registers `keyturn vault audit verify | list | checkpoint`. */
export function registerVaultAudit(vault: Command, cli: Cli): void {
  const audit = vault
    .command('audit')
    .description('read and check the chain of everything that happened to keys and across cells')
  registerVaultAuditVerify(audit, cli)
  registerVaultAuditList(audit, cli)
  registerVaultAuditCheckpoint(audit, cli)
}

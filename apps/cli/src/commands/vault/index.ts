import type { Command } from 'commander'
import type { Cli } from '../../command.ts'
import { registerVaultAudit } from './audit.ts'
import { registerVaultImport } from './import.ts'
import { registerVaultInit } from './init.ts'
import { registerVaultSeal } from './seal.ts'
import { registerVaultOpen } from './open.ts'
import { registerVaultTraverse } from './traverse.ts'
import { registerVaultList } from './list.ts'
import { registerVaultRemove } from './remove.ts'
import { registerVaultRotate } from './rotate.ts'
import { registerVaultSweep } from './sweep.ts'
import { registerVaultRetire } from './retire.ts'
import { registerVaultShares } from './shares/index.ts'
import { registerVaultStatus } from './status.ts'

/** Registers `keyturn vault …`. */
export function registerVault(program: Command, cli: Cli): void {
  const vault = program
    .command('vault')
    .description('seal and open secrets under a master key that rotates without downtime')
  registerVaultInit(vault, cli)
  registerVaultSeal(vault, cli)
  registerVaultImport(vault, cli)
  registerVaultOpen(vault, cli)
  registerVaultTraverse(vault, cli)
  registerVaultList(vault, cli)
  registerVaultRemove(vault, cli)
  registerVaultRotate(vault, cli)
  registerVaultSweep(vault, cli)
  registerVaultRetire(vault, cli)
  registerVaultShares(vault, cli)
  registerVaultStatus(vault, cli)
  registerVaultAudit(vault, cli)
}

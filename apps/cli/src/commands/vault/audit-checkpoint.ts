import { resolve } from 'node:path'
import { writeFileAtomic } from '@keyturn/primitives/node'
import { writeCheckpoint } from '@keyturn/vault-kdf'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { refuseExisting } from '../../paths.ts'
import { withVault } from '../../flags/vault.ts'
import { openVault } from '@keyturn/publisher/vault'
import type { VaultFlags } from '@keyturn/publisher/vault'

interface CheckpointFlags extends VaultFlags {
  readonly output?: string | undefined
  readonly force?: boolean | undefined
}

/** Registers the command `checkpoint`. */
export function registerVaultAuditCheckpoint(audit: Command, cli: Cli): void {
  const checkpoint = audit
    .command('checkpoint')
    .description('sign how long the chain is now, to be kept elsewhere')
    .option('-o, --output <file>', 'write it to this file')
    .option('--force', 'replace an existing file')
  cli.define<CheckpointFlags>(withVault(checkpoint), {
    example: 'keyturn vault audit checkpoint --output /media/stick/checkpoint.json',
    run: makeCheckpoint,
  })
}

async function makeCheckpoint(context: Context, flags: CheckpointFlags): Promise<CommandResult> {
  refuseExisting(flags.output, flags.force)
  const vault = await openVault(context, flags)
  const checkpoint = await vault.audit.checkpoint()
  if (flags.output !== undefined)
    await writeFileAtomic(resolve(flags.output), writeCheckpoint(checkpoint), { overwrite: flags.force === true })
  const { seq, head } = checkpoint
  return {
    data: { seq, head, output: flags.output === undefined ? undefined : resolve(flags.output) },
    text:
      flags.output === undefined
        ? new TextDecoder().decode(writeCheckpoint(checkpoint))
        : `Checkpoint of record ${seq} written to ${resolve(flags.output)}. Keep it on another machine.`,
  }
}

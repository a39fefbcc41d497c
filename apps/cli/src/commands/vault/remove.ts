import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { withPlace } from '../../flags/vault.ts'
import type { PlaceFlags } from '../../flags/vault.ts'
import { openVault } from '@keyturn/publisher/vault'

/** Registers the command `remove`. */
export function registerVaultRemove(vault: Command, cli: Cli): void {
  cli.define<PlaceFlags>(withPlace(vault.command('remove <cell> <name>').description('remove a record')), {
    example: 'keyturn vault remove ci old-token --yes',
    run: removeRecord,
  })
}

async function removeRecord(
  context: Context,
  flags: PlaceFlags,
  [cell = '', name = '']: readonly (string | undefined)[],
): Promise<CommandResult> {
  const vault = await openVault(context, flags)
  await context.ask.confirm(`Remove ${cell}/${name} for good?`)
  await vault.partition(flags.partition).cell(cell).remove(name)
  return { data: { partition: flags.partition, cell, name }, text: `${cell}/${name} removed.` }
}

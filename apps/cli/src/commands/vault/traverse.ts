import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { layerOf, tokenOf, withPlace } from '../../flags/vault.ts'
import type { PlaceFlags } from '../../flags/vault.ts'
import { openVault } from '@keyturn/publisher/vault'

interface TraverseFlags extends PlaceFlags {
  readonly toPartition?: string | undefined
  readonly fromPolicy?: string | undefined
  readonly fromSession?: string | undefined
}

/** Registers the command `traverse`. */
export function registerVaultTraverse(vault: Command, cli: Cli): void {
  const traverse = vault
    .command('traverse <from-cell> <to-cell> <name>')
    .description('copy a record to another cell, sealed for that place, without showing it')
    .option('--to-partition <id>', 'partition of the destination (default: the same)')
    .option('--from-policy <id>', 'policy id at the source (default: --policy)')
    .option('--from-session <id>', 'session id at the source (default: --session)')
  cli.define<TraverseFlags>(withPlace(traverse), {
    example: 'keyturn vault traverse ci production deploy-token --layer access --policy deployers',
    run: traverseRecord,
  })
}

async function traverseRecord(
  context: Context,
  flags: TraverseFlags,
  [from = '', to = '', name = '']: readonly (string | undefined)[],
): Promise<CommandResult> {
  const vault = await openVault(context, flags)
  const source = vault.partition(flags.partition).cell(from)
  const toPartition = flags.toPartition ?? flags.partition
  const { token: sourceToken } = tokenOf(flags.fromPolicy ?? flags.policy, flags.fromSession ?? flags.session)
  const { token: destinationToken } = tokenOf(flags.policy, flags.session)
  await vault.traverse(source, vault.partition(toPartition).cell(to), name, {
    layer: layerOf(flags.layer),
    sourceToken,
    destinationToken,
  })
  return {
    data: {
      name,
      from: { partition: flags.partition, cell: from },
      to: { partition: toPartition, cell: to },
      layer: flags.layer,
    },
    text: `${from}/${name} copied to ${to}/${name}; written to the audit chain.`,
  }
}

import { formatBytes, wipe } from '@keyturn/primitives'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { layerOf, readInput, tokenOf, withPlace } from '../../flags/vault.ts'
import type { PlaceFlags } from '../../flags/vault.ts'
import { openVault } from '@keyturn/publisher/vault'

/** Registers the command `seal`. */
export function registerVaultSeal(vault: Command, cli: Cli): void {
  const seal = vault
    .command('seal <cell> <name> [file]')
    .description('seal a file, or what comes on stdin, into a cell')
  cli.define<PlaceFlags>(withPlace(seal), {
    example: 'printf %s "$TOKEN" | keyturn vault seal ci deploy-token',
    run: sealRecord,
  })
}

async function sealRecord(
  context: Context,
  flags: PlaceFlags,
  [cell = '', name = '', file]: readonly (string | undefined)[],
): Promise<CommandResult> {
  const vault = await openVault(context, flags)
  const plaintext = await readInput(file)
  try {
    const layer = layerOf(flags.layer)
    const { keyVersion } = await vault
      .partition(flags.partition)
      .cell(cell)
      .seal(name, plaintext, { layer, ...tokenOf(flags.policy, flags.session) })
    return {
      data: {
        partition: flags.partition,
        cell,
        name,
        layer: flags.layer,
        bytes: plaintext.length,
        key_version: keyVersion,
      },
      text: `${formatBytes(plaintext.length)} sealed as ${cell}/${name} under key version ${keyVersion}.`,
    }
  } finally {
    wipe(plaintext)
  }
}

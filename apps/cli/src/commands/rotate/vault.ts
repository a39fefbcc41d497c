import type { JsonObject } from '@keyturn/primitives'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { counted, formatTable } from '../../output.ts'
import { openHome } from '@keyturn/publisher'
import { runHomeTurn, vaultTurnParts, vaultTurnSteps } from '@keyturn/publisher/rotation'
import { withNextKey } from '../../flags/next-key.ts'
import type { NextKeyOptions } from '../../flags/next-key.ts'

interface Turned {
  readonly what: string
  readonly from: number
  readonly to: number
  readonly records: number
}

/** Registers `keyturn rotate vault`: the masters of the home's own secrets. */
export function registerRotateVault(rotate: Command, cli: Cli): void {
  const command = withNextKey(
    rotate
      .command('vault')
      .description("turn the master keys that the home's secrets are sealed under: keystores and vault"),
  )
  cli.define<NextKeyOptions>(command, {
    example: ['keyturn rotate vault --dry-run', 'keyturn rotate vault --yes'],
    dryRun: true,
    run: turnVaultMasters,
  })
}

/** Turns the masters of the home's keystores and of its vault. */
export async function turnVaultMasters(context: Context, flags: NextKeyOptions): Promise<CommandResult> {
  const home = await openHome(context, { write: !context.dryRun, nextKeyFile: flags.nextKeyFile })
  const parts = await vaultTurnParts(context, home)
  const steps = await vaultTurnSteps(context, home, flags.nextPassphraseFile)
  if (context.dryRun) {
    return {
      data: { turns: parts, steps: steps.map(({ title }) => title), download_bytes_at_most: 0 },
      text: `Would turn the master of: ${parts.join(', ')}. Players download nothing, passphrases stay.`,
    }
  }
  await context.ask.confirm("Turn the master keys of this home's secrets?")
  const { facts, resumed } = await runHomeTurn(context, home.paths, 'vault', steps)
  const turned = turnedOf(facts)
  const rows = turned.map(({ what, from, to, records }) => [
    what,
    `key version ${from} to ${to}`,
    `${counted(records, 'secret')} sealed anew`,
  ])
  return {
    data: { turned: turned.map((turn) => ({ ...turn })), resumed },
    text: `${formatTable(rows)}\nPassphrases stay as they are; older backups open with the passphrase they were made with.`,
  }
}

function turnedOf(facts: JsonObject): Turned[] {
  const names = { keystore: 'keystore', 'next-key': 'next identity key', vault: 'vault' } as const
  return Object.entries(names)
    .filter(([name]) => facts[`${name}_to`] !== undefined)
    .map(([name, what]) => ({
      what,
      from: Number(facts[`${name}_from`]),
      to: Number(facts[`${name}_to`]),
      records: Number(facts[`${name}_secrets`]),
    }))
}

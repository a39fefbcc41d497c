import type { Command } from 'commander'
import { openHome } from '@keyturn/publisher'
import { MASTERS, vaultRotation, vaultRotationParts, vaultRotationSteps } from '@keyturn/publisher/rotation'
import type { MasterName, VaultState } from '@keyturn/publisher/rotation'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { withNextKey } from '../../flags/next-key.ts'
import type { NextKeyOptions } from '../../flags/next-key.ts'
import { counted, formatTable } from '../../output.ts'
import { runRotation } from './run-rotation.ts'
import type { RotationCommand, RotationOutcome } from './run-rotation.ts'

const MASTER_NAMES: Readonly<Record<MasterName, string>> = {
  keystore: 'keystore',
  'next-key': 'next identity key',
  vault: 'vault',
}

/** Registers `keyturn rotate vault`: the masters of the home's own secrets. */
export function registerRotateVault(rotate: Command, cli: Cli): void {
  const command = withNextKey(
    rotate
      .command('vault')
      .description("rotate the master keys that the home's secrets are sealed under: keystores and vault"),
  )
  cli.define<NextKeyOptions>(command, {
    example: ['keyturn rotate vault --dry-run', 'keyturn rotate vault --yes'],
    dryRun: true,
    run: async (context, flags) => await runRotation(context, await openVaultRotation(context, flags), {}),
  })
}

/** Opens the home for a rotation of its masters. */
export async function openVaultRotation(context: Context, flags: NextKeyOptions): Promise<RotationCommand<VaultState>> {
  const home = await openHome(context, { write: !context.dryRun, nextKeyFile: flags.nextKeyFile })
  const parts = await vaultRotationParts(context, home)
  const steps = await vaultRotationSteps(context, home, flags.nextPassphraseFile)
  return {
    rotation: vaultRotation,
    folder: home.paths.journals,
    describe: () => 'master keys',
    refuse: () => Promise.resolve(),
    covers: () => true,
    plan: () =>
      Promise.resolve({
        steps,
        question: "Rotate the master keys of this home's secrets?",
        preview: () => ({
          data: { turns: parts, steps: steps.map(({ title }) => title), download_bytes_at_most: 0 },
          text: `Would rotate the master of: ${parts.join(', ')}. Players download nothing, passphrases stay.`,
        }),
        report,
      }),
  }
}

function report({ state, resumed }: RotationOutcome<VaultState>): CommandResult {
  const rotated = MASTERS.flatMap((name) => {
    const { from = 0, rotated: done } = state[name] ?? {}
    return done === undefined ? [] : [{ what: MASTER_NAMES[name], from, to: done.to, records: done.secrets }]
  })
  const rows = rotated.map(({ what, from, to, records }) => [
    what,
    `key version ${from} to ${to}`,
    `${counted(records, 'secret')} sealed again`,
  ])
  return {
    data: { turned: rotated, resumed },
    text:
      `${formatTable(rows)}\nPassphrases stay as they are; older backups open with the passphrase they were ` +
      'made with.',
  }
}

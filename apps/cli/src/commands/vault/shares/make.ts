import { wipe } from '@keyturn/primitives'
import { checkSpare, makeSpare } from '@keyturn/publisher/vault'
import type { VaultFlags } from '@keyturn/publisher/vault'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../../command.ts'
import { withVault } from '../../../flags/vault.ts'
import { makeShares, planShares } from '../../../share-files.ts'
import type { MakeShareFlags } from '../../../share-files.ts'

/** Registers `keyturn vault shares make`. */
export function registerVaultSharesMake(shares: Command, cli: Cli): void {
  const make = shares
    .command('make <folder>')
    .description('make a spare key, and a file with a share of its passphrase for each holder')
    .requiredOption('--threshold <n>', 'how many shares open it')
    .requiredOption('--count <n>', 'how many shares there are')
  cli.define<VaultFlags & MakeShareFlags>(withVault(make), {
    example: 'keyturn vault shares make /media/stick/shares --threshold 3 --count 5',
    dryRun: true,
    run: runMake,
  })
}

async function runMake(
  context: Context,
  flags: VaultFlags & MakeShareFlags,
  [folder = '']: readonly (string | undefined)[],
): Promise<CommandResult> {
  const plan = await planShares(folder, flags)
  await checkSpare(context, flags)
  if (context.dryRun)
    return {
      data: { folder: plan.folder, threshold: plan.threshold, shares: plan.count, made: false },
      text: `Would make ${plan.count} shares in ${plan.folder}, of which any ${plan.threshold} open the vault.`,
    }
  const passphrase = await context.ask.passphrase('Passphrase of the vault')
  try {
    return await makeShares(context, plan, async (made) => {
      const spare = await makeSpare(context, flags, { vault: passphrase, spare: made.passphrase })
      return {
        data: {
          folder: made.folder,
          set: made.set,
          threshold: made.threshold,
          shares: made.files.length,
          spare,
          made: true,
        },
        text:
          `${made.files.length} shares of set ${made.set} are in ${made.folder}; any ${made.threshold} of them open ` +
          `${spare}, which stays with the vault.\nGive each file to another person, and leave none here.`,
      }
    })
  } finally {
    wipe(passphrase)
  }
}

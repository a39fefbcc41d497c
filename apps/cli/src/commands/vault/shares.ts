import { wipe } from '@keyturn/primitives'
import { checkSpare, makeSpare, useSpare } from '@keyturn/publisher/vault'
import type { VaultFlags } from '@keyturn/publisher/vault'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { withVault } from '../../flags/vault.ts'
import { makeShares, planShares, readShares } from '../../share-files.ts'
import type { MakeShareFlags } from '../../share-files.ts'

interface UseFlags extends VaultFlags {
  readonly shareFile: readonly string[]
  readonly newPassphraseFile?: string | undefined
}

/** Registers `keyturn vault shares …`. */
export function registerVaultShares(vault: Command, cli: Cli): void {
  const shares = vault
    .command('shares')
    .description('make and use a spare key of the vault that only several people open together')
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
  const use = shares
    .command('use')
    .description('put the vault under a new passphrase, by enough shares of its spare key')
    .requiredOption('--share-file <file...>', 'a file with a share; repeat until the set has enough')
    .option('--new-passphrase-file <file>', 'read the new passphrase from a file (default: it is asked for)')
  cli.define<UseFlags>(withVault(use), {
    example: 'keyturn vault shares use --share-file share-1-of-5.txt share-2-of-5.txt share-4-of-5.txt',
    run: runUse,
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

async function runUse(context: Context, flags: UseFlags): Promise<CommandResult> {
  const spare = await readShares(context, flags.shareFile)
  try {
    const vault = await context.ask.newPassphrase('New passphrase of the vault', flags.newPassphraseFile)
    try {
      await useSpare(context, flags, { vault, spare })
    } finally {
      wipe(vault)
    }
  } finally {
    wipe(spare)
  }
  return {
    data: { changed: true },
    text: 'The vault opens under the new passphrase. The spare key and its shares are as they were.',
  }
}

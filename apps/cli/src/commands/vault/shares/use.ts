import { wipe } from '@keyturn/primitives'
import { useSpare } from '@keyturn/publisher/vault'
import type { VaultFlags } from '@keyturn/publisher/vault'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../../command.ts'
import { withVault } from '../../../flags/vault.ts'
import { readShares } from '../../../share-files.ts'

interface UseFlags extends VaultFlags {
  readonly shareFile: readonly string[]
  readonly newPassphraseFile?: string | undefined
}

/** Registers `keyturn vault shares use`. */
export function registerVaultSharesUse(shares: Command, cli: Cli): void {
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

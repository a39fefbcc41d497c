import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { wholeNumber } from '../../flags/values.ts'
import { counted } from '../../output.ts'
import { withVault } from '../../flags/vault.ts'
import { openVault } from '@keyturn/publisher/vault'
import type { VaultFlags } from '@keyturn/publisher/vault'
import { reportData, reportText, olderCount } from './sweep-report.ts'

interface SweepFlags extends VaultFlags {
  readonly pageSize: string
  readonly maxRate?: string | undefined
}

/** Registers the command `sweep`. */
export function registerVaultSweep(vault: Command, cli: Cli): void {
  const sweep = vault
    .command('sweep')
    .description('seal everything under older keys again; continues where it was interrupted')
    .option('--page-size <n>', 'records in one write', '100')
    .option('--max-rate <bytes>', 'bytes per second at most')
  cli.define<SweepFlags>(withVault(sweep), { example: 'keyturn vault sweep', dryRun: true, run: runSweep })
}

async function runSweep(context: Context, flags: SweepFlags): Promise<CommandResult> {
  const vault = await openVault(context, flags)
  if (context.dryRun)
    return {
      data: { remaining: await olderCount(vault) },
      text: `${counted(await olderCount(vault), 'record')} would be sealed again.`,
    }
  const due = await olderCount(vault)
  const progress = context.out.progress('sweep', 'count')
  const report = await vault
    .sweep({
      signal: context.signal,
      pageSize: wholeNumber(flags.pageSize, '--page-size', 1, 10_000),
      ...(flags.maxRate === undefined
        ? {}
        : { maxBytesPerSecond: wholeNumber(flags.maxRate, '--max-rate', 1, 2 ** 40) }),
      onProgress: ({ scanned }) => progress.update(scanned, Math.max(due, scanned)),
    })
    .finally(() => progress.end())
  return { data: reportData(report), text: reportText(report), no: report.remaining > 0 }
}

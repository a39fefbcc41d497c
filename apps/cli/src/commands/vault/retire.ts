import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { wholeNumber } from '../../flags/values.ts'
import { counted } from '../../output.ts'
import { withVault } from '../../flags/vault.ts'
import { openVault } from '@keyturn/publisher/vault'
import type { VaultFlags } from '@keyturn/publisher/vault'

interface RetireFlags extends VaultFlags {
  readonly destroy?: boolean | undefined
  readonly restore?: boolean | undefined
  readonly forceCount?: string | undefined
}

/** Registers the command `retire`. */
export function registerVaultRetire(vault: Command, cli: Cli): void {
  const retire = vault
    .command('retire <version>')
    .description('put a key that nothing needs in quarantine; after 7 days destroy it')
    .option('--destroy', 'destroy it: quarantine must be over')
    .option('--restore', 'bring it back out of quarantine')
    .option('--force-count <n>', 'with --destroy: give up exactly this many records, or the rest of the quarantine')
  cli.define<RetireFlags>(withVault(retire), {
    example: ['keyturn vault retire 1', 'keyturn vault retire 1 --destroy --yes'],
    dryRun: true,
    run: runRetire,
  })
}

async function runRetire(
  context: Context,
  flags: RetireFlags,
  [text = '']: readonly (string | undefined)[],
): Promise<CommandResult> {
  const version = wholeNumber(text, 'The version', 0, 0xffff_ffff)
  const vault = await openVault(context, flags)
  const census = await vault.keys.census(version)
  if (context.dryRun)
    return { data: { version, records: census }, text: `Under key version ${version}: ${counted(census, 'record')}.` }
  if (flags.restore === true) await vault.keys.restore(version)
  else if (flags.destroy === true) {
    await context.ask.typed(
      'DESTROY',
      `Key version ${version} will be destroyed; ${counted(census, 'record')} will be lost with it.`,
    )
    const forced =
      flags.forceCount === undefined
        ? {}
        : { forceWithCensus: wholeNumber(flags.forceCount, '--force-count', 0, Number.MAX_SAFE_INTEGER) }
    await vault.keys.destroy(version, forced)
  } else await vault.keys.retire(version)
  const state = vault.keys.list().find((entry) => entry.version === version)?.state ?? ''
  return { data: { version, state, records: census }, text: `Key version ${version} is ${state.replace('_', '-')}.` }
}

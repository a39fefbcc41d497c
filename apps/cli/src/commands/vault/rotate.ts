import type { Vault } from '@keyturn/vault-kdf'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { counted } from '../../output.ts'
import { withVault } from '../../flags/vault.ts'
import { openVault, vaultPaths } from '@keyturn/publisher/vault'
import type { VaultFlags } from '@keyturn/publisher/vault'
import { policyStatus, policyText } from './policy-status.ts'
import { recordCount, olderCount } from './sweep-report.ts'

interface RotateFlags extends VaultFlags {
  readonly stageOnly?: boolean | undefined
  readonly compromised?: boolean | undefined
  readonly ifDue?: boolean | undefined
}

/** Registers the command `rotate`. */
export function registerVaultRotate(vault: Command, cli: Cli): void {
  const rotate = vault
    .command('rotate')
    .description('make a fresh master key the active one; what is sealed stays readable')
    .option('--stage-only', 'add the key, do not use it yet')
    .option('--compromised', 'the active key was stolen: only the sweep opens what is under it')
    .option('--if-due', 'only when the policy file of the vault wants it, by age or by count')
  cli.define<RotateFlags>(withVault(rotate), {
    example: ['keyturn vault rotate --dry-run', 'keyturn vault rotate --yes', 'keyturn vault rotate --if-due --yes'],
    dryRun: true,
    run: rotateMaster,
  })
}

async function rotateMaster(context: Context, flags: RotateFlags): Promise<CommandResult> {
  if (flags.ifDue === true && (flags.stageOnly === true || flags.compromised === true))
    throw new CliError('CLI_USAGE', '--if-due rotates by the policy, without --stage-only and --compromised')
  const vault = await openVault(context, flags)
  if (flags.ifDue === true) {
    const notDue = await whenNotDue(context, flags, vault)
    if (notDue !== undefined) return notDue
  }
  const before = vault.keys.active
  const staged = vault.keys.list().find(({ state }) => state === 'staged')?.version
  if (context.dryRun) {
    return {
      data: { from: before, staged, records: await recordCount(vault) },
      text:
        `Key version ${before ?? 'none'} would become decrypt-only; ` +
        `"keyturn vault sweep" would then seal ${counted(await recordCount(vault), 'record')} again.`,
    }
  }
  await context.ask.confirm(`Rotate the master key of vault ${vault.id}?`)
  const version = staged ?? (await vault.keys.stage())
  if (flags.stageOnly === true)
    return {
      data: { from: before, staged: version },
      text: `Key version ${version} is staged. Use it with "keyturn vault rotate".`,
    }
  await vault.keys.promote(version)
  if (flags.compromised === true && before !== undefined)
    await vault.keys.compromise(before, 'keyturn vault rotate --compromised')
  return {
    data: { from: before, to: version, compromised: flags.compromised === true, remaining: await olderCount(vault) },
    text:
      `Key version ${version} is active.\n` +
      `Under older versions: ${counted(await olderCount(vault), 'record')}; run "keyturn vault sweep"` +
      `${before === undefined ? '' : `, then "keyturn vault retire ${before}"`}.`,
  }
}

/** What to report when the policy does not want a rotation now. */
async function whenNotDue(context: Context, flags: VaultFlags, vault: Vault): Promise<CommandResult | undefined> {
  const policy = await policyStatus(vault)
  if (policy === undefined)
    throw new CliError('CLI_USAGE', `The vault has no policy file "${vaultPaths(context, flags).policyFile}"`, {
      hint: 'docs/guides/rotate-the-vault-key.md has one to begin with',
    })
  if (policy.due) return undefined
  return { data: { ...policy }, text: `Not due: ${policyText(policy)}.` }
}

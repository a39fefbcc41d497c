import { countVersion } from '@keyturn/vault-kdf'
import type { SweepReport, Vault } from '@keyturn/vault-kdf'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { wholeNumber } from '../../flags/values.ts'
import { counted, formatBytes, formatTable } from '../../output.ts'
import { withVault } from '../../flags/vault.ts'
import { openVault, vaultPaths } from '@keyturn/publisher/vault'
import type { VaultFlags } from '@keyturn/publisher/vault'

interface RotateFlags extends VaultFlags {
  readonly stageOnly?: boolean
  readonly compromised?: boolean
}

interface SweepFlags extends VaultFlags {
  readonly pageSize: string
  readonly maxRate?: string
}

interface RetireFlags extends VaultFlags {
  readonly destroy?: boolean
  readonly restore?: boolean
  readonly forceCount?: string
}

/** Registers `keyturn vault rotate | sweep | retire | status`. */
export function registerVaultKeys(vault: Command, cli: Cli): void {
  const rotate = vault
    .command('rotate')
    .description('make a fresh master key the active one; what is sealed stays readable')
    .option('--stage-only', 'add the key, do not use it yet')
    .option('--compromised', 'the active key was stolen: only the sweep opens what is under it')
  cli.define<RotateFlags>(withVault(rotate), {
    example: ['keyturn vault rotate --dry-run', 'keyturn vault rotate --yes'],
    dryRun: true,
    run: rotateMaster,
  })
  const sweep = vault
    .command('sweep')
    .description('seal everything under older keys anew; goes on where it was interrupted')
    .option('--page-size <n>', 'records in one write', '100')
    .option('--max-rate <bytes>', 'bytes per second at most')
  cli.define<SweepFlags>(withVault(sweep), { example: 'keyturn vault sweep', dryRun: true, run: runSweep })
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
  cli.define<VaultFlags>(
    withVault(vault.command('status').description('keys, their states, and how much is sealed under each')),
    { example: 'keyturn vault status', run: status },
  )
}

async function rotateMaster(context: Context, flags: RotateFlags): Promise<CommandResult> {
  const vault = await openVault(context, flags)
  const before = vault.keys.active
  const staged = vault.keys.list().find(({ state }) => state === 'staged')?.version
  if (context.dryRun) {
    return {
      data: { from: before, staged, records: await recordCount(vault) },
      text: `Key version ${before ?? 'none'} would become decrypt-only; "keyturn vault sweep" would then seal ${counted(await recordCount(vault), 'record')} anew.`,
    }
  }
  await context.ask.confirm(`Turn the master key of vault ${vault.id}?`)
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
    text: `Key version ${version} is active.\nUnder older versions: ${counted(await olderCount(vault), 'record')}; run "keyturn vault sweep"${before === undefined ? '' : `, then "keyturn vault retire ${before}"`}.`,
  }
}

async function runSweep(context: Context, flags: SweepFlags): Promise<CommandResult> {
  const vault = await openVault(context, flags)
  if (context.dryRun)
    return {
      data: { remaining: await olderCount(vault) },
      text: `${counted(await olderCount(vault), 'record')} would be sealed anew.`,
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

/** A sweep report as the data of a command. */
export function reportData(report: SweepReport): CommandResult['data'] {
  return {
    job: report.jobId,
    to: report.toVersion,
    state: report.state,
    remaining: report.remaining,
    ...report.counts,
    failures: report.failures.map(({ partition, cell, name, code }) => ({ partition, cell, name, code })),
  }
}

function reportText(report: SweepReport): string {
  const { counts, failures } = report
  return [
    `${counted(counts.resealed, 'record')} sealed anew under key version ${report.toVersion}, ${counts.superseded} by their writers; ${report.remaining} left.`,
    ...(counts.gated > 0 ? [`Waiting for readers or expiry: ${counted(counts.gated, 'gated record')}.`] : []),
    ...failures.map(({ partition, cell, name, code }) => `did not open: ${partition}/${cell}/${name} (${code})`),
  ].join('\n')
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

async function status(context: Context, flags: VaultFlags): Promise<CommandResult> {
  const vault = await openVault(context, flags)
  const census = await vault.census()
  const keys = vault.keys.list().map(({ version, state, fingerprint, history, legacyProfiles }) => ({
    version,
    state,
    fingerprint,
    since: new Date(history.at(-1)?.at ?? 0).toISOString(),
    records: countVersion(census, version, legacyProfiles !== undefined),
    bytes: census.filter((row) => row.keyVersion === version).reduce((sum, row) => sum + row.bytes, 0),
  }))
  const rows = keys.map((key) => [
    `key ${key.version}`,
    key.state,
    key.fingerprint,
    key.since.slice(0, 16).replace('T', ' '),
    counted(key.records, 'record'),
    formatBytes(key.bytes),
  ])
  return {
    data: { vault: vaultPaths(context, flags).path, id: vault.id, keys },
    text: `Vault ${vault.id}\n${formatTable(rows)}`,
  }
}

async function recordCount(vault: Vault): Promise<number> {
  return (await vault.census()).reduce((sum, row) => sum + row.count, 0)
}

/** Records that are not under the active version. */
export async function olderCount(vault: Vault): Promise<number> {
  return (await vault.census())
    .filter((row) => row.format === 'v0' || row.keyVersion !== vault.keys.active)
    .reduce((sum, row) => sum + row.count, 0)
}

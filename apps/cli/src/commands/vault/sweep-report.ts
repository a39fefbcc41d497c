import type { SweepReport, Vault } from '@keyturn/vault-kdf'
import type { CommandResult } from '../../command.ts'
import { counted } from '../../output.ts'

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

/** A sweep report for people. */
export function reportText(report: SweepReport): string {
  const { counts, failures } = report
  return [
    `${counted(counts.resealed, 'record')} sealed again under key version ${report.toVersion}, ` +
      `${counts.superseded} by their writers; ${report.remaining} left.`,
    ...(counts.gated > 0 ? [`Waiting for readers or expiry: ${counted(counts.gated, 'gated record')}.`] : []),
    ...failures.map(({ partition, cell, name, code }) => `did not open: ${partition}/${cell}/${name} (${code})`),
  ].join('\n')
}

/** Records in the vault. */
export async function recordCount(vault: Vault): Promise<number> {
  return (await vault.census()).reduce((sum, row) => sum + row.count, 0)
}

/** Records that are not under the active version. */
export async function olderCount(vault: Vault): Promise<number> {
  return (await vault.census())
    .filter((row) => row.format === 'v0' || row.keyVersion !== vault.keys.active)
    .reduce((sum, row) => sum + row.count, 0)
}

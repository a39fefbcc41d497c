import { writeAuditRecord } from '@keyturn/vault-kdf'
import type { AuditRecord } from '@keyturn/vault-kdf'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { wholeNumber } from '../../flags/values.ts'
import { formatTable } from '../../output.ts'
import { withVault } from '../../flags/vault.ts'
import { openVault } from '@keyturn/publisher/vault'
import type { VaultFlags } from '@keyturn/publisher/vault'

interface ListFlags extends VaultFlags {
  readonly last: string
}

/** Registers the command `list`. */
export function registerVaultAuditList(audit: Command, cli: Cli): void {
  const list = audit.command('list').description('list the newest records').option('--last <n>', 'how many', '20')
  cli.define<ListFlags>(withVault(list), { example: 'keyturn vault audit list --last 5', run: listRecords })
}

async function listRecords(context: Context, flags: ListFlags): Promise<CommandResult> {
  const vault = await openVault(context, flags)
  const wanted = wholeNumber(flags.last, '--last', 1, 100_000)
  const records: AuditRecord[] = []
  for await (const record of vault.audit.records()) {
    records.push(record)
    if (records.length > wanted) records.shift()
  }
  const rows = records.map((record) => [
    String(record.seq),
    new Date(Number(BigInt(record.time) / 1_000_000n)).toISOString(),
    record.type,
    record.outcome,
    [versions(record), record.cell === '' ? '' : `${record.cell}${record.toCell === '' ? '' : ` to ${record.toCell}`}`]
      .filter((text) => text !== '')
      .join(' '),
  ])
  return {
    data: { records: records.map((record) => JSON.parse(writeAuditRecord(record)) as { seq: number }) },
    text: formatTable(rows),
  }
}

function versions({ fromVersion, toVersion }: AuditRecord): string {
  if (fromVersion === undefined && toVersion === undefined) return ''
  return `key ${[fromVersion, toVersion].filter((version) => version !== undefined).join(' to ')}`
}

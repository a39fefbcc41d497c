import { formatBytes } from '@keyturn/primitives'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { formatTable } from '../../output.ts'
import { withPlace } from '../../flags/vault.ts'
import type { PlaceFlags } from '../../flags/vault.ts'
import { openVault } from '@keyturn/publisher/vault'

/** Registers the command `list`. */
export function registerVaultList(vault: Command, cli: Cli): void {
  cli.define<PlaceFlags>(withPlace(vault.command('list <cell>').description('list the records of a cell')), {
    example: 'keyturn vault list ci',
    run: listRecords,
  })
}

async function listRecords(
  context: Context,
  flags: PlaceFlags,
  [cell = '']: readonly (string | undefined)[],
): Promise<CommandResult> {
  const vault = await openVault(context, flags)
  const records: { name: string; layer: string; key_version: number; legacy: boolean; bytes: number }[] = []
  for await (const { name, layer, keyVersion, legacy, bytes } of vault.partition(flags.partition).cell(cell).list()) {
    records.push({ name, layer: ['rest', 'access', 'session'][layer] ?? '', key_version: keyVersion, legacy, bytes })
  }
  const rows = records.map((record) => [
    record.name,
    record.layer,
    record.legacy ? 'legacy' : `key ${record.key_version}`,
    formatBytes(record.bytes),
  ])
  return {
    data: { partition: flags.partition, cell, records },
    text: rows.length === 0 ? `Cell "${cell}" is empty.` : formatTable(rows),
  }
}

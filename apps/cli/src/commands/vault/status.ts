import { formatBytes } from '@keyturn/primitives'
import { countVersion } from '@keyturn/vault-kdf'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { counted, formatTable } from '../../output.ts'
import { withVault } from '../../flags/vault.ts'
import { policyStatus, policyText } from './policy-status.ts'
import { openVault, vaultPaths } from '@keyturn/publisher/vault'
import type { VaultFlags } from '@keyturn/publisher/vault'

/** Registers the command `status`. */
export function registerVaultStatus(vault: Command, cli: Cli): void {
  cli.define<VaultFlags>(
    withVault(vault.command('status').description('show the keys, their states, and how much is sealed under each')),
    { example: 'keyturn vault status', run: showStatus },
  )
}

async function showStatus(context: Context, flags: VaultFlags): Promise<CommandResult> {
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
  const policy = await policyStatus(vault)
  return {
    data: { vault: vaultPaths(context, flags).path, id: vault.id, keys, policy },
    text: `Vault ${vault.id}\n${formatTable(rows)}${policy === undefined ? '' : `\nPolicy: ${policyText(policy)}.`}`,
  }
}

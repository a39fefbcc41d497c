import { wipe } from '@keyturn/primitives'
import { pathExists } from '@keyturn/primitives/node'
import { openKeystore } from '@keyturn/keystore/node'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../command.ts'
import { formatTable } from '../output.ts'
import { homePaths, lockHome, readHome } from '../home.ts'
import { openVault, vaultExists, vaultPaths } from './vault-location.ts'

interface RotateVaultFlags {
  readonly nextPassphraseFile?: string
}

interface Turned {
  readonly what: string
  readonly from: number
  readonly to: number
  readonly records: number
}

/** Registers `keyturn rotate vault`: the masters of the home's own secrets. */
export function registerRotateVault(rotate: Command, cli: Cli): void {
  const command = rotate
    .command('vault')
    .description('turn the master keys that the home\'s secrets are sealed under: keystores and vault')
    .option('--next-passphrase-file <file>', 'passphrase of the file with the next identity key, when it has its own')
  cli.define<RotateVaultFlags>(command, { example: ['keyturn rotate vault --dry-run', 'keyturn rotate vault --yes'], dryRun: true, run })
}

async function run(context: Context, flags: RotateVaultFlags): Promise<CommandResult> {
  await readHome(context.homeFolder)
  if (!context.dryRun) await lockHome(context)
  const paths = homePaths(context.homeFolder)
  const keystores: { what: string; path: string; file: string | undefined }[] = [{ what: 'keystore', path: paths.keystore, file: undefined }]
  if (await pathExists(paths.nextIdentityKey)) {
    keystores.push({ what: 'next identity key', path: paths.nextIdentityKey, file: flags.nextPassphraseFile })
  }
  const hasVault = await vaultExists(vaultPaths(context, {}))
  if (context.dryRun) {
    const what = [...keystores.map((keystore) => keystore.what), ...(hasVault ? ['vault'] : [])]
    return { data: { turns: what }, text: `Would turn the master of: ${what.join(', ')}.` }
  }
  await context.ask.confirm('Turn the master keys of this home\'s secrets?')
  const turned: Turned[] = []
  for (const { what, path, file } of keystores) turned.push(await turnKeystore(context, what, path, file))
  if (hasVault) turned.push(await turnVault(context))
  const rows = turned.map(({ what, from, to, records }) => [what, `key version ${from} to ${to}`, `${records} secrets sealed anew`])
  return {
    data: { turned: turned.map((turn) => ({ ...turn })) },
    text: `${formatTable(rows)}\nPassphrases stay as they are; older backups open with the passphrase they were made with.`,
  }
}

async function turnKeystore(context: Context, what: string, path: string, file: string | undefined): Promise<Turned> {
  const passphrase = await context.ask.passphrase(what === 'keystore' ? 'Passphrase' : 'Passphrase of the next identity key', { file })
  try {
    const keystore = await openKeystore(path, passphrase, { clock: context.clock, keepPrevious: what === 'keystore' })
    try {
      const from = keystore.masters().at(-1)?.version ?? 0
      const { version } = await keystore.rotateMaster()
      return { what, from, to: version, records: keystore.list().length }
    } finally {
      keystore.close()
    }
  } finally {
    wipe(passphrase)
  }
}

async function turnVault(context: Context): Promise<Turned> {
  const vault = await openVault(context, {})
  const from = vault.keys.active ?? 0
  const to = await vault.keys.rotate()
  const { counts, remaining } = await vault.sweep({ signal: context.signal })
  if (remaining === 0) await vault.keys.retire(from)
  return { what: 'vault', from, to, records: counts.resealed }
}

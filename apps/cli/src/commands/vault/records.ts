import { isUtf8 } from 'node:buffer'
import { resolve } from 'node:path'
import { base64Encode, wipe } from '@keyturn/primitives'
import { writeFileAtomic } from '@keyturn/primitives/node'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { formatBytes, formatTable } from '../../output.ts'
import { layerOf, readInput, tokenOf, withPlace, withVault } from '../../flags/vault.ts'
import type { PlaceFlags } from '../../flags/vault.ts'
import { createVault, openVault, vaultPaths } from '@keyturn/publisher/vault'
import type { VaultFlags } from '@keyturn/publisher/vault'

type Args = readonly (string | undefined)[]

interface OpenFlags extends PlaceFlags {
  readonly output?: string
  readonly force?: boolean
}

interface TraverseFlags extends PlaceFlags {
  readonly toPartition?: string
  readonly fromPolicy?: string
  readonly fromSession?: string
}

/** Registers `keyturn vault init | seal | open | traverse | list | remove`. */
export function registerVaultRecords(vault: Command, cli: Cli): void {
  cli.define<VaultFlags>(
    withVault(vault.command('init').description('make a vault: a store, a key and an audit chain')),
    {
      example: ['keyturn vault init', 'keyturn vault init --vault secrets.db'],
      run: init,
    },
  )
  const seal = vault
    .command('seal <cell> <name> [file]')
    .description('seal a file, or what comes on stdin, into a cell')
  cli.define<PlaceFlags>(withPlace(seal), {
    example: 'printf %s "$TOKEN" | keyturn vault seal ci deploy-token',
    run: sealRecord,
  })
  const open = vault
    .command('open <cell> <name>')
    .description('open a record: to stdout, or to a file of mode 600')
    .option('-o, --output <file>', 'write it to this file')
    .option('--force', 'replace an existing file')
  cli.define<OpenFlags>(withPlace(open), {
    example: 'keyturn vault open ci deploy-token --output token',
    run: openRecord,
  })
  const traverse = vault
    .command('traverse <from-cell> <to-cell> <name>')
    .description('copy a record to another cell, sealed for that place, without showing it')
    .option('--to-partition <id>', 'partition of the destination (default: the same)')
    .option('--from-policy <id>', 'policy id at the source (default: --policy)')
    .option('--from-session <id>', 'session id at the source (default: --session)')
  cli.define<TraverseFlags>(withPlace(traverse), {
    example: 'keyturn vault traverse ci production deploy-token --layer access --policy deployers',
    run: traverseRecord,
  })
  cli.define<PlaceFlags>(withPlace(vault.command('list <cell>').description('the records of a cell')), {
    example: 'keyturn vault list ci',
    run: list,
  })
  cli.define<PlaceFlags>(withPlace(vault.command('remove <cell> <name>').description('remove a record')), {
    example: 'keyturn vault remove ci old-token --yes',
    run: remove,
  })
}

async function init(context: Context, flags: VaultFlags): Promise<CommandResult> {
  const vault = await createVault(context, flags)
  const { path } = vaultPaths(context, flags)
  return {
    data: { vault: path, id: vault.id, key_version: vault.keys.active },
    text: `Vault ${vault.id} made in ${path}, key version 1 active.`,
  }
}

async function sealRecord(
  context: Context,
  flags: PlaceFlags,
  [cell = '', name = '', file]: Args,
): Promise<CommandResult> {
  const vault = await openVault(context, flags)
  const plaintext = await readInput(file)
  try {
    const layer = layerOf(flags.layer)
    const { keyVersion } = await vault
      .partition(flags.partition)
      .cell(cell)
      .seal(name, plaintext, { layer, ...tokenOf(flags.policy, flags.session) })
    return {
      data: {
        partition: flags.partition,
        cell,
        name,
        layer: flags.layer,
        bytes: plaintext.length,
        key_version: keyVersion,
      },
      text: `${formatBytes(plaintext.length)} sealed as ${cell}/${name} under key version ${keyVersion}.`,
    }
  } finally {
    wipe(plaintext)
  }
}

async function openRecord(context: Context, flags: OpenFlags, [cell = '', name = '']: Args): Promise<CommandResult> {
  const vault = await openVault(context, flags)
  const plaintext = await vault.partition(flags.partition).cell(cell).open(name, tokenOf(flags.policy, flags.session))
  try {
    const data = { partition: flags.partition, cell, name, bytes: plaintext.length }
    if (flags.output !== undefined) {
      const output = resolve(flags.output)
      await writeFileAtomic(output, plaintext, { mode: 0o600, overwrite: flags.force === true })
      return { data: { ...data, output }, text: `${formatBytes(plaintext.length)} written to ${output}.` }
    }
    // The one command whose data is the secret: whoever asks for it on stdout gets it there.
    if (context.out.json) return { data: { ...data, content_base64: base64Encode(plaintext) } }
    if (!isUtf8(plaintext))
      throw new CliError('CLI_USAGE', `${cell}/${name} is not text`, { hint: 'Write it to a file with --output' })
    return { data, raw: Buffer.from(plaintext).toString('utf8') }
  } finally {
    wipe(plaintext)
  }
}

async function traverseRecord(
  context: Context,
  flags: TraverseFlags,
  [from = '', to = '', name = '']: Args,
): Promise<CommandResult> {
  const vault = await openVault(context, flags)
  const source = vault.partition(flags.partition).cell(from)
  const toPartition = flags.toPartition ?? flags.partition
  const { token: sourceToken } = tokenOf(flags.fromPolicy ?? flags.policy, flags.fromSession ?? flags.session)
  const { token: destinationToken } = tokenOf(flags.policy, flags.session)
  await vault.traverse(source, vault.partition(toPartition).cell(to), name, {
    layer: layerOf(flags.layer),
    ...(sourceToken === undefined ? {} : { sourceToken }),
    ...(destinationToken === undefined ? {} : { destinationToken }),
  })
  return {
    data: {
      name,
      from: { partition: flags.partition, cell: from },
      to: { partition: toPartition, cell: to },
      layer: flags.layer,
    },
    text: `${from}/${name} copied to ${to}/${name}; written to the audit chain.`,
  }
}

async function list(context: Context, flags: PlaceFlags, [cell = '']: Args): Promise<CommandResult> {
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

async function remove(context: Context, flags: PlaceFlags, [cell = '', name = '']: Args): Promise<CommandResult> {
  const vault = await openVault(context, flags)
  await context.ask.confirm(`Remove ${cell}/${name} for good?`)
  await vault.partition(flags.partition).cell(cell).remove(name)
  return { data: { partition: flags.partition, cell, name }, text: `${cell}/${name} removed.` }
}

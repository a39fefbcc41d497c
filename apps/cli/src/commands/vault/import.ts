import { readFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { isRecord, parseStrictJson, printable, utf8Encode, wipe } from '@keyturn/primitives'
import { VaultError } from '@keyturn/vault-kdf'
import type { Vault } from '@keyturn/vault-kdf'
import { openLegacy } from '@keyturn/vault-kdf/legacy'
import type { LegacyPlace, LegacyProfile } from '@keyturn/vault-kdf/legacy'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { layerOf, readInput, tokenOf, withPlace } from '../../flags/vault.ts'
import type { PlaceFlags } from '../../flags/vault.ts'
import { counted } from '../../output.ts'
import { openVault } from '@keyturn/publisher/vault'
import { withSeedFile } from '../noise/seed.ts'

interface ImportFlags extends PlaceFlags {
  readonly profile: string
  readonly masterFile: string
  readonly list?: string | undefined
}

const PROFILES: readonly LegacyProfile[] = ['hv-1.0', 'hv-1.1.0', 'hv-1.1.2']
const MAX_LIST_BYTES = 16 * 1024 * 1024
const LIST_FIELDS: readonly string[] = ['partition', 'cell', 'name', 'layer', 'policy', 'session', 'file']

/** A record of HexVault: where it belongs, and the file with its bytes. */
interface Source {
  readonly place: LegacyPlace
  readonly name: string
  readonly file: string | undefined
}

/** Registers the command `import`. */
export function registerVaultImport(vault: Command, cli: Cli): void {
  const command = withPlace(
    vault
      .command('import [cell] [name] [file]')
      .description('seal what HexVault wrote again in the vault: one file or stdin, or every record of a list')
      .requiredOption('--profile <name>', `the version of HexVault that wrote it: ${PROFILES.join(', ')}`)
      .requiredOption('--master-file <file>', 'the master key of HexVault: 32 bytes, raw, in hexadecimal or base64')
      .option(
        '--list <file>',
        'a JSON list of {partition, cell, name, layer, policy, session, file}; all of them open, or none is sealed',
      ),
  )
  cli.define<ImportFlags>(command, {
    example: [
      'keyturn vault import ci deploy-token old.bin --profile hv-1.1.2 --master-file master.key',
      'keyturn vault import --list records.json --profile hv-1.0 --master-file master.key',
    ],
    dryRun: true,
    run: runImport,
  })
}

async function runImport(
  context: Context,
  flags: ImportFlags,
  [cell, name, file]: readonly (string | undefined)[],
): Promise<CommandResult> {
  const profile = PROFILES.find((known) => known === flags.profile)
  if (profile === undefined) throw new CliError('CLI_USAGE', `--profile knows ${PROFILES.join(', ')} only`)
  const sources = flags.list === undefined ? [oneSource(flags, cell, name, file)] : await listed(flags, cell)
  const vault = await openVault(context, flags)
  await refuseTaken(vault, sources)
  const opened: Uint8Array[] = []
  try {
    await withSeedFile(flags.masterFile, async (master) => {
      for (const source of sources) {
        context.signal.throwIfAborted()
        opened.push(openOne(profile, master, source, await readInput(source.file)))
      }
    })
    if (!context.dryRun)
      for (const [at, { place, name: record }] of sources.entries())
        await vault
          .partition(place.partition)
          .cell(place.cell)
          .seal(record, opened[at] as Uint8Array, {
            layer: place.layer,
            ...tokenOf(place.context.policy, place.context.session),
          })
    const bytes = opened.reduce((sum, { length }) => sum + length, 0)
    return {
      data: { profile, records: sources.length, bytes, key_version: vault.keys.active, imported: !context.dryRun },
      text:
        `${counted(sources.length, 'record')} of HexVault (${profile}) ${context.dryRun ? 'would be ' : ''}sealed ` +
        `under key version ${vault.keys.active}.`,
    }
  } finally {
    wipe(...opened)
  }
}

function openOne(profile: LegacyProfile, master: Uint8Array, { place, name }: Source, blob: Uint8Array): Uint8Array {
  try {
    return openLegacy(profile, master, place, blob)
  } catch (cause) {
    if (!(cause instanceof VaultError)) throw cause
    const where = printable(`${place.cell}/${name} of partition ${place.partition}`)
    throw new VaultError(cause.code, `Cannot import ${where}: ${cause.message}`, {
      cause,
      hint: 'Nothing was imported. Compare --profile, --master-file, --partition, --layer, --policy and --session',
    })
  }
}

/** Nothing that is in the vault is replaced, and no place is named twice. */
async function refuseTaken(vault: Vault, sources: readonly Source[]): Promise<void> {
  const taken = new Set<string>()
  const cells = new Set(sources.map(({ place }) => JSON.stringify([place.partition, place.cell])))
  for (const key of cells) {
    const [partition, cell] = JSON.parse(key) as [string, string]
    for await (const { name } of vault.partition(partition).cell(cell).list())
      taken.add(JSON.stringify([partition, cell, name]))
  }
  for (const { place, name } of sources) {
    const key = JSON.stringify([place.partition, place.cell, name])
    if (taken.has(key))
      throw new CliError('CLI_EXISTS', `There is a record ${printable(`${place.cell}/${name}`)} already`, {
        hint: 'Nothing was imported. Remove it with "keyturn vault remove", or import under another name',
      })
    taken.add(key)
  }
}

function oneSource(flags: ImportFlags, cell: string | undefined, name = '', file?: string): Source {
  if (cell === undefined) throw new CliError('CLI_USAGE', 'Give a cell and a name, or --list')
  const { partition, policy, session } = flags
  return { place: { partition, cell, layer: layerOf(flags.layer), context: { policy, session } }, name, file }
}

async function listed({ list = '', partition, layer }: ImportFlags, cell: string | undefined): Promise<Source[]> {
  if (cell !== undefined) throw new CliError('CLI_USAGE', 'Give a cell and a name, or --list, not both')
  const value: unknown = parseStrictJson(utf8Encode(await readFile(list, 'utf8')), { maxBytes: MAX_LIST_BYTES })
  if (!Array.isArray(value) || value.length === 0) throw badList(list, 'it is not a list with records')
  return value.map((entry: unknown, at) => {
    if (!isRecord(entry)) throw badList(list, `entry ${at + 1} is not an object`)
    for (const [field, text] of Object.entries(entry))
      if (!LIST_FIELDS.includes(field) || typeof text !== 'string')
        throw badList(list, `entry ${at + 1} has "${printable(field, 40)}", which is not one of its texts`)
    const fields = entry as Readonly<Record<string, string | undefined>>
    const { cell: inCell, file } = fields
    if (inCell === undefined || file === undefined) throw badList(list, `entry ${at + 1} lacks "cell" or "file"`)
    return {
      name: fields['name'] ?? '',
      file: resolve(dirname(list), file),
      place: {
        partition: fields['partition'] ?? partition,
        cell: inCell,
        layer: layerOf(fields['layer'] ?? layer),
        context: { policy: fields['policy'], session: fields['session'] },
      },
    }
  })
}

function badList(list: string, why: string): CliError {
  return new CliError('CLI_USAGE', `Cannot read the list "${printable(list)}": ${why}`, {
    hint: 'Each entry is {"cell", "name", "file"} and may have "partition", "layer", "policy" and "session"',
  })
}

import { printable } from '@keyturn/primitives'
import { pathExists, writeFileAtomic } from '@keyturn/primitives/node'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { counted } from '../../output.ts'
import { openIdentity, openOwnLog } from '@keyturn/publisher/identity'

interface ExportOptions {
  readonly alias?: string
  readonly force?: boolean
}

/** Registers `keyturn id export`. */
export function registerIdExport(id: Command, cli: Cli): void {
  const command = id
    .command('export <file>')
    .description('write the log as a plain CESR stream, in first-seen order: what keripy and signify read')
    .option('--alias <name>', 'an identity made by "id init", by the alias of its current key')
    .option('--force', 'overwrite the file')
  cli.define<ExportOptions>(command, { example: 'keyturn id export identity.cesr', run: runExport })
}

async function runExport(
  context: Context,
  options: ExportOptions,
  [file = '']: readonly (string | undefined)[],
): Promise<CommandResult> {
  const kel = await openOwnLog(await openIdentity(context, options))
  if (options.force !== true && (await pathExists(file)))
    throw new CliError('CLI_EXISTS', `"${printable(file)}" is there already`, { hint: 'Give --force' })
  const bytes = await kel.export()
  await writeFileAtomic(file, bytes)
  return {
    data: { file, bytes: bytes.length, sn: kel.state.sn, said: kel.state.said },
    text: `${counted(kel.events.length, 'event')}, ${bytes.length} bytes, written to ${file}`,
  }
}

import { isUtf8 } from 'node:buffer'
import { resolve } from 'node:path'
import { base64Encode, formatBytes, wipe } from '@keyturn/primitives'
import { writeFileAtomic } from '@keyturn/primitives/node'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { tokenOf, withPlace } from '../../flags/vault.ts'
import type { PlaceFlags } from '../../flags/vault.ts'
import { openVault } from '@keyturn/publisher/vault'

interface OpenFlags extends PlaceFlags {
  readonly output?: string | undefined
  readonly force?: boolean | undefined
}

/** Registers the command `open`. */
export function registerVaultOpen(vault: Command, cli: Cli): void {
  const open = vault
    .command('open <cell> <name>')
    .description('open a record: to stdout, or to a file of mode 600')
    .option('-o, --output <file>', 'write it to this file')
    .option('--force', 'replace an existing file')
  cli.define<OpenFlags>(withPlace(open), {
    example: 'keyturn vault open ci deploy-token --output token',
    run: openRecord,
  })
}

async function openRecord(
  context: Context,
  flags: OpenFlags,
  [cell = '', name = '']: readonly (string | undefined)[],
): Promise<CommandResult> {
  const vault = await openVault(context, flags)
  const plaintext = await vault.partition(flags.partition).cell(cell).open(name, tokenOf(flags.policy, flags.session))
  try {
    const data = { partition: flags.partition, cell, name, bytes: plaintext.length }
    if (flags.output !== undefined) {
      const output = resolve(flags.output)
      await writeFileAtomic(output, plaintext, { mode: 0o600, overwrite: flags.force === true })
      return { data: { ...data, output }, text: `${formatBytes(plaintext.length)} written to ${output}.` }
    }
    // The one command whose data is the secret: anyone who asks for it on stdout gets it there.
    if (context.out.json) return { data: { ...data, content_base64: base64Encode(plaintext) } }
    if (!isUtf8(plaintext))
      throw new CliError('CLI_USAGE', `${cell}/${name} is not text`, { hint: 'Write it to a file with --output' })
    return { data, raw: Buffer.from(plaintext).toString('utf8') }
  } finally {
    wipe(plaintext)
  }
}

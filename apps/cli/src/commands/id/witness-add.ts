import { discoverWitness } from '@keyturn/kel/witness'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { aliasFlag, openIdentity, readWitnesses, writeWitnesses } from '@keyturn/publisher/identity'
import type { WitnessOptions } from './witness-state.ts'
import { namedWitnesses } from './witness-state.ts'

/** Registers the command `add`. */
export function registerIdWitnessAdd(witness: Command, cli: Cli): void {
  const add = witness
    .command('add <url>')
    .description('save the address of a witness; a release server has one at https://…/witness')
    .option('--alias <name>', 'an identity made by "id init", by the alias of its current key')
  cli.define<WitnessOptions>(add, {
    example: 'keyturn id witness add https://updates.example.org/witness',
    run: runAdd,
  })
}

async function runAdd(
  context: Context,
  options: WitnessOptions,
  [url = '']: readonly (string | undefined)[],
): Promise<CommandResult> {
  if (!URL.canParse(url) || !/^https?:/.test(url))
    throw new CliError('CLI_USAGE', 'The address of a witness looks like https://updates.example.org/witness')
  const identity = await openIdentity(context, { ...options, write: true })
  const { prefix } = await discoverWitness(url)
  const others = (await readWitnesses(identity)).filter((known) => known.prefix !== prefix)
  await writeWitnesses(identity, [...others, { prefix, url }])
  const named = (await namedWitnesses(identity)).includes(prefix)
  return {
    data: { prefix, url, named },
    text:
      `Witness ${prefix} is at ${url}` +
      (named ? '' : `\nThe log does not name it yet: keyturn id rotate --add-witness ${prefix}${aliasFlag(identity)}`),
  }
}

import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { formatTable } from '../../output.ts'
import { openIdentity, readWitnesses } from '@keyturn/publisher/identity'
import type { WitnessOptions } from './witness-state.ts'
import { namedWitnesses } from './witness-state.ts'

/** Registers the command `list`. */
export function registerIdWitnessList(witness: Command, cli: Cli): void {
  const list = witness
    .command('list')
    .description('list the witnesses whose address is known, and whether the log names them')
    .option('--alias <name>', 'an identity made by "id init", by the alias of its current key')
  cli.define<WitnessOptions>(list, { example: 'keyturn id witness list --json', run: runList })
}

async function runList(context: Context, options: WitnessOptions): Promise<CommandResult> {
  const identity = await openIdentity(context, options)
  const known = await readWitnesses(identity)
  const named = await namedWitnesses(identity)
  const prefixes = [...new Set([...named, ...known.map(({ prefix }) => prefix)])]
  const witnesses = prefixes.map((prefix) => ({
    prefix,
    url: known.find((other) => other.prefix === prefix)?.url ?? null,
    named: named.includes(prefix),
  }))
  return {
    data: { witnesses },
    text:
      witnesses.length === 0
        ? 'No witnesses'
        : formatTable(
            witnesses.map(({ prefix, url, named: isNamed }) => [
              prefix,
              url ?? 'address not known',
              isNamed ? 'named by the log' : 'not named by the log',
            ]),
          ),
  }
}

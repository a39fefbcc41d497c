import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { readFreeze, removeFreeze } from '@keyturn/publisher/identity'

export function registerUnfreeze(emergency: Command, cli: Cli): void {
  const unfreeze = emergency.command('unfreeze').description('end a freeze before its time')
  cli.define<object>(unfreeze, { example: 'keyturn emergency unfreeze --yes', dryRun: true, run: runUnfreeze })
}

async function runUnfreeze(context: Context): Promise<CommandResult> {
  const freeze = await readFreeze(context.homeFolder, context.clock)
  if (freeze === undefined) return { data: { was_frozen: false }, text: 'Not frozen' }
  if (context.dryRun)
    return {
      data: { was_frozen: true, dry_run: true },
      text: `Would end the freeze that lasts until ${freeze.frozenUntil}`,
    }
  await context.ask.confirm(`End the freeze that lasts until ${freeze.frozenUntil}?`)
  await removeFreeze(context.homeFolder)
  return { data: { was_frozen: true }, text: 'Signing is possible again' }
}

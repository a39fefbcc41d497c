import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { durationMs } from '../../flags/values.ts'
import { writeFreeze } from '@keyturn/publisher/identity'

interface FreezeOptions {
  readonly duration: string
  readonly reason?: string | undefined
}

export function registerFreeze(emergency: Command, cli: Cli): void {
  const freeze = emergency
    .command('freeze')
    .description('sign nothing on this machine for a while; local only, others do not see it')
    .option('--duration <time>', 'how long: 90m, 24h, 7d', '24h')
    .option('--reason <text>', 'why', '')
  cli.define<FreezeOptions>(freeze, {
    example: 'keyturn emergency freeze --duration 7d --reason "CI was broken into"',
    dryRun: true,
    run: runFreeze,
  })
}

async function runFreeze(context: Context, options: FreezeOptions): Promise<CommandResult> {
  const now = context.clock()
  const until = new Date(now + durationMs(options.duration, '--duration')).toISOString()
  const data = { frozen_at: new Date(now).toISOString(), frozen_until: until, reason: options.reason ?? '' }
  if (context.dryRun)
    return { data: { ...data, dry_run: true }, text: `Would sign nothing on this machine until ${until}` }
  await context.ask.typed('FREEZE', `Nothing will be signed on this machine until ${until}. Others do not see this.`)
  await writeFreeze(context.homeFolder, { frozenAt: data.frozen_at, frozenUntil: until, reason: data.reason })
  return {
    data,
    text: `Frozen until ${until}. This is local: a stolen key is stopped by "keyturn emergency rotate-now" only.`,
  }
}

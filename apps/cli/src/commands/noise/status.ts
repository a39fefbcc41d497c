import { planRotation, remindersDue } from '@keyturn/noise-keys/owner'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { dateText } from './dates.ts'
import { nowSeconds, openTransport, transportPolicy } from '@keyturn/publisher/transport'
import { keysData, keysText } from './keys-table.ts'

interface StatusOptions {
  readonly check?: boolean | undefined
}

/** Registers `keyturn noise status`. */
export function registerNoiseStatus(noise: Command, cli: Cli): void {
  const status = noise
    .command('status')
    .description('show the transport keys of the home: state, age, what is due')
    .option('--check', 'exit with 1 when something is due')
  cli.define<StatusOptions>(status, { example: 'keyturn noise status --check', run: runStatus })
}

async function runStatus(context: Context, options: StatusOptions): Promise<CommandResult> {
  const { metadata, exists, session } = await openTransport(context)
  const plan = planRotation(metadata, transportPolicy(session.description, metadata), nowSeconds(context))
  const due = plan.steps.filter((step) => step.due)
  const reminders = remindersDue(plan).map(({ action }) => action)
  for (const warning of plan.warnings) if (exists) context.out.warn(warning)
  const next = plan.steps.find((step) => !step.due)
  return {
    data: {
      identity: metadata.identity,
      published: metadata.list !== undefined,
      keys: keysData(metadata),
      age_days: plan.ageDays,
      rotation_count: metadata.rotationCount,
      turn_at: plan.turnAtS,
      due: due.map(({ action, device }) => ({ action, device })),
      reminders,
      warnings: [...plan.warnings],
    },
    text: [
      `transport identity ${metadata.identity}`,
      '',
      metadata.keys.length === 0 ? 'no key yet: run "keyturn noise publish"' : keysText(metadata),
      '',
      due.length === 0
        ? `nothing is due${next === undefined ? '' : `; next: ${next.action} ${next.device}, ${dateText(next.atS)}`}`
        : `due: ${due.map(({ action, device }) => `${action} ${device}`).join(', ')}`,
    ].join('\n'),
    no: options.check === true && due.length > 0,
  }
}

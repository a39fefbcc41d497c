import { INTERVAL_PRESETS, rotationPolicy } from '@keyturn/noise-keys/owner'
import { openHome } from '@keyturn/publisher'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { wholeNumber } from '../../flags/values.ts'

/** Registers `keyturn noise interval`. */
export function registerNoiseInterval(noise: Command, cli: Cli): void {
  const interval = noise
    .command('interval [every]')
    .description(`set the days between rotations, or one of ${Object.keys(INTERVAL_PRESETS).join(', ')}; shows them`)
  cli.define(interval, {
    example: ['keyturn noise interval', 'keyturn noise interval monthly', 'keyturn noise interval 45'],
    dryRun: true,
    run: (context, _options, [days]) => runInterval(context, days),
  })
}

async function runInterval(context: Context, days: string | undefined): Promise<CommandResult> {
  const home = await openHome(context, { write: days !== undefined && !context.dryRun })
  const { policy } = home.description
  const before = policy?.transport
  if (days === undefined) {
    const text = before === undefined ? 'As the keys were published with, 90 days by default' : `${before} days`
    return { data: { interval_days: before ?? null }, text }
  }
  const interval = intervalDays(days)
  checkInterval(interval)
  if (!context.dryRun) await home.update({ policy: { ...policy, transport: interval } })
  return {
    data: { interval_days: interval, before: before ?? null, ...(context.dryRun ? { dry_run: true } : {}) },
    text: `${context.dryRun ? 'Would rotate' : 'Keys rotate'} every ${interval} days: see "keyturn noise plan"`,
  }
}

/** Reads days between rotations: a number, or the name of a preset. @throws {@link CliError} `CLI_USAGE`. */
export function intervalDays(text: string): number {
  const presets: Readonly<Record<string, number>> = INTERVAL_PRESETS
  return Object.hasOwn(presets, text) ? (presets[text] as number) : wholeNumber(text, 'The interval', 1, 365)
}

/** Days that are too few for peers to learn of a rotation. */
function checkInterval(days: number): void {
  try {
    rotationPolicy({ intervalS: days * 86_400 })
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause
    throw new CliError('CLI_USAGE', `${days} days are too few: ${cause.message}`, { cause })
  }
}

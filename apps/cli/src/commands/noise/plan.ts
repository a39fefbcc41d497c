import type { JsonValue } from '@keyturn/primitives'
import { INTERVAL_PRESETS, planRotation, rotationPolicy } from '@keyturn/noise-keys/owner'
import type { RotationPlan } from '@keyturn/noise-keys/owner'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { formatTable } from '../../output.ts'
import { dateText } from './dates.ts'
import { intervalDays } from './interval.ts'
import { nowSeconds, openTransport, transportPolicy } from '@keyturn/publisher/transport'

interface PlanOptions {
  readonly interval?: string | undefined
  readonly at?: string | undefined
}

/** Registers `keyturn noise plan`. */
export function registerNoisePlan(noise: Command, cli: Cli): void {
  const plan = noise
    .command('plan')
    .description('show what will happen to the keys, and when; changes nothing')
    .option('--interval <days>', `days between rotations, or ${Object.keys(INTERVAL_PRESETS).join(', ')}`)
    .option('--at <date>', 'as if it were then: 2027-03-01')
  cli.define<PlanOptions>(plan, {
    example: ['keyturn noise plan', 'keyturn noise plan --interval monthly --at 2027-03-01'],
    run: runPlan,
  })
}

async function runPlan(context: Context, options: PlanOptions): Promise<CommandResult> {
  const { metadata, session } = await openTransport(context)
  const nowS = options.at === undefined ? nowSeconds(context) : dateFlag(options.at)
  const policy =
    options.interval === undefined
      ? transportPolicy(session.description, metadata)
      : rotationPolicy({ ...metadata.policy, intervalS: intervalDays(options.interval) * 86_400 })
  const plan = planRotation(metadata, policy, nowS)
  return { data: planData(plan), text: planText(plan) }
}

function planData(plan: RotationPlan): { [key: string]: JsonValue } {
  return {
    age_days: plan.ageDays,
    turn_at: plan.turnAtS ?? null,
    warnings: [...plan.warnings],
    steps: plan.steps.map(({ action, atS, device, due }) => ({ action, at: atS, device, due })),
  }
}

function planText(plan: RotationPlan): string {
  if (plan.steps.length === 0) return 'nothing to plan: no key is active'
  return formatTable(
    plan.steps.map(({ action, atS, device, due }) => [dateText(atS), action, device, due ? 'due' : '']),
  )
}

function dateFlag(text: string): number {
  const ms = /^\d{4}-\d{2}-\d{2}(T[\d:]+Z)?$/.test(text) ? Date.parse(text) : Number.NaN
  if (Number.isNaN(ms)) throw new CliError('CLI_USAGE', '--at is not a date like 2027-03-01 or 2027-03-01T12:00:00Z')
  return Math.floor(ms / 1000)
}

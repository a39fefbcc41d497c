import { base64Decode, hexEncode } from '@keyturn/primitives'
import type { JsonValue } from '@keyturn/primitives'
import { INTERVAL_PRESETS, planRotation, remindersDue, rotationPolicy } from '@keyturn/noise-keys'
import type { RotationPlan, TransportMetadata } from '@keyturn/noise-keys'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { formatTable } from '../../output.ts'
import { wholeNumber } from '../../flags/values.ts'
import { dateText } from './dates.ts'
import { nowSeconds, openTransport, transportPolicy } from '@keyturn/publisher/transport'

interface StatusOptions {
  readonly check?: boolean
}
interface PlanOptions {
  readonly interval?: string
  readonly at?: string
}

/** Registers `keyturn noise status`. */
export function registerNoiseStatus(noise: Command, cli: Cli): void {
  const status = noise
    .command('status')
    .description('the keys of the home: state, age, what is due')
    .option('--check', 'exit with 1 when something is due')
  cli.define<StatusOptions>(status, { example: 'keyturn noise status --check', run: runStatus })
}

/** Registers `keyturn noise plan`. */
export function registerNoisePlan(noise: Command, cli: Cli): void {
  const plan = noise
    .command('plan')
    .description('what will happen to the keys, and when; changes nothing')
    .option('--interval <days>', `days between turns, or ${Object.keys(INTERVAL_PRESETS).join(', ')}`)
    .option('--at <date>', 'as if it were then: 2027-03-01')
  cli.define<PlanOptions>(plan, {
    example: ['keyturn noise plan', 'keyturn noise plan --interval monthly --at 2027-03-01'],
    run: runPlan,
  })
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

async function runPlan(context: Context, options: PlanOptions): Promise<CommandResult> {
  const { metadata, session } = await openTransport(context)
  const nowS = options.at === undefined ? nowSeconds(context) : dateFlag(options.at)
  const policy =
    options.interval === undefined
      ? transportPolicy(session.description, metadata)
      : rotationPolicy({ ...metadata.policy, intervalS: daysOf(options.interval) * 86_400 })
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

/** Keys for programs; public halves only. */
export function keysData(metadata: TransportMetadata): { [key: string]: JsonValue }[] {
  return metadata.keys.map((key) => ({
    device: key.device,
    state: key.state,
    public_key: hexEncode(base64Decode(key.publicKey)),
    generation: key.generation,
    context: key.context ?? key.device,
    sequence: key.sequence,
    created_at: key.createdAtS,
    active_from: key.activeFromS ?? null,
    retiring_until: key.retiringUntilS ?? null,
    reason: key.reason ?? null,
  }))
}

/** Keys for people. */
export function keysText(metadata: TransportMetadata): string {
  return formatTable(
    metadata.keys.map((key) => [
      key.device,
      key.state,
      hexEncode(base64Decode(key.publicKey)).slice(0, 16),
      key.state === 'retiring'
        ? `answers until ${dateText(key.retiringUntilS)}`
        : key.state === 'next'
          ? `from ${dateText(key.activeFromS)}`
          : key.state === 'active'
            ? `since ${dateText(key.activeFromS)}`
            : (key.reason ?? ''),
    ]),
  )
}

function daysOf(text: string): number {
  const presets: Readonly<Record<string, number>> = INTERVAL_PRESETS
  return Object.hasOwn(presets, text) ? (presets[text] as number) : wholeNumber(text, '--interval', 1, 365)
}

function dateFlag(text: string): number {
  const ms = /^\d{4}-\d{2}-\d{2}(T[\d:]+Z)?$/.test(text) ? Date.parse(text) : Number.NaN
  if (Number.isNaN(ms)) throw new CliError('CLI_USAGE', '--at is no date like 2027-03-01 or 2027-03-01T12:00:00Z')
  return Math.floor(ms / 1000)
}

import type { Command } from 'commander'
import { writeFileAtomic } from '@keyturn/primitives/node'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { refuseExisting } from '../../paths.ts'
import { openIdentity, readFreeze, removeFreeze, writeFreeze } from '@keyturn/publisher/identity'
import { readTurn } from '@keyturn/publisher/rotation'
import { emergencyReport, reportText } from './report.ts'
import { rehearse, rotateNow, withNextKeys } from '../id/rotate.ts'
import type { RotateOptions } from '../id/rotate.ts'

interface RotateNowOptions extends Pick<RotateOptions, 'reason' | 'nextKeyFile' | 'nextPassphraseFile'> {
  readonly currentAlias?: string
  readonly nextAlias?: string
}

interface FreezeOptions {
  readonly duration: string
  readonly reason?: string
}
interface ReportOptions {
  readonly alias?: string
  readonly events: string
  readonly output?: string
  readonly force?: boolean
}

/** Registers `keyturn emergency …`. */
export function registerEmergency(program: Command, cli: Cli): void {
  const emergency = program
    .command('emergency')
    .description('a key may be in the wrong hands: rotate now, freeze, report')
  registerRotateNow(emergency, cli)
  registerFreeze(emergency, cli)
  registerReport(emergency, cli)
}

function registerRotateNow(emergency: Command, cli: Cli): void {
  const command = withNextKeys(
    emergency
      .command('rotate-now')
      .description('put the promised next key into force at once, after everything was checked')
      .option('--current-alias <name>', 'alias of the key that may be stolen')
      .option('--next-alias <name>', 'alias of the key that comes into force'),
  )
  cli.define<RotateNowOptions>(command, {
    example: [
      'keyturn emergency rotate-now --dry-run',
      'keyturn emergency rotate-now --current-alias laptop --next-alias laptop-v2 --reason "laptop stolen" --yes',
    ],
    dryRun: true,
    run: runRotateNow,
  })
}

function registerFreeze(emergency: Command, cli: Cli): void {
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
  const unfreeze = emergency.command('unfreeze').description('end a freeze before its time')
  cli.define<object>(unfreeze, { example: 'keyturn emergency unfreeze --yes', dryRun: true, run: runUnfreeze })
}

function registerReport(emergency: Command, cli: Cli): void {
  const report = emergency
    .command('report')
    .description('what the log, the devices and the evidence say, for whoever looks into the incident')
    .option('--alias <name>', 'an identity made by "id init", by the alias of its current key')
    .option('--events <n>', 'how many of the last events', '100')
    .option('-o, --output <file>', 'write the report as JSON into a file')
    .option('--force', 'replace an existing file')
  cli.define<ReportOptions>(report, { example: 'keyturn emergency report --output incident.json', run: runReport })
}

/** The aliases: from the flags, else asked for. With --yes nothing is asked: then the identity of the home is meant. */
async function askAliases(context: Context, options: RotateNowOptions, yes: boolean): Promise<RotateOptions> {
  const needed = async (flag: string, value: string | undefined, prompt: string): Promise<string | undefined> => {
    if (value !== undefined || yes) return value
    try {
      const answer = (await context.ask.line(prompt)).trim()
      return answer === '' ? undefined : answer
    } catch (cause) {
      throw new CliError(
        'CLI_NO_TERMINAL',
        `No terminal to ask on: give ${flag}, and --yes to confirm; nothing was changed`,
        { cause },
      )
    }
  }
  const alias = await needed(
    '--current-alias',
    options.currentAlias,
    'Alias of the current key (empty: the identity of this home): ',
  )
  const nextKeyAlias = await needed('--next-alias', options.nextAlias, 'Alias of the new key (empty: chosen for you): ')
  return {
    ...(alias === undefined ? {} : { alias }),
    ...(nextKeyAlias === undefined ? {} : { nextKeyAlias }),
    ...(options.reason === undefined ? {} : { reason: options.reason }),
    ...(options.nextKeyFile === undefined ? {} : { nextKeyFile: options.nextKeyFile }),
  }
}

async function runRotateNow(context: Context, options: RotateNowOptions): Promise<CommandResult> {
  const rotation = await askAliases(context, options, context.ask.agreed || context.dryRun)
  const identity = await openIdentity(context, {
    alias: rotation.alias,
    write: !context.dryRun,
    nextPassphraseFile: options.nextPassphraseFile,
  })
  const pending = (await readTurn(identity.journals, identity.turn)) !== undefined
  // Checks come first: what is typed in a hurry should not be the first to find a missing key.
  if (!pending || context.dryRun) {
    const rehearsed = await rehearse(identity, rotation)
    if (context.dryRun) return rehearsed
  }
  await context.ask.typed(
    'ROTATE',
    `This puts a new key into force for did:keri:${identity.prefix}. Every device has to be linked again.`,
  )
  const done = await rotateNow(context, identity, rotation)
  const steps = nextSteps(identity.kind === 'release', options.nextKeyFile)
  return {
    data: { ...done.data, next_steps: steps },
    text: [done.text ?? '', '', 'Next steps:', ...steps.map((step, i) => `  ${i + 1}. ${step}`)].join('\n'),
  }
}

function nextSteps(release: boolean, files: readonly string[] | undefined): string[] {
  const nextKeyFile = (files ?? [])
    .map((file) => `, each with --next-key-file ${file}`)
    .slice(0, 1)
    .join('')
  return [
    ...(release
      ? [
          'Publish the log under a new head: keyturn release head, then keyturn release publish',
          `The release and head keys still count. If they may be stolen too: keyturn rotate release --revoke and keyturn rotate head --revoke${nextKeyFile}`,
          'If the content key or a transport key was there as well: keyturn rotate content --full, keyturn noise revoke',
          'Take back the tokens that machine had for the server: keyturn-server token revoke',
        ]
      : []),
    'Link each device again: keyturn device link',
    'Replace what CI holds of the old key',
    'Move the file with the new next key to another medium',
    'Keep a record: keyturn emergency report --output incident.json',
  ]
}

const units: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000 }

function durationMs(text: string): number {
  const match = /^([1-9][0-9]{0,4})([mhd])$/.exec(text)
  if (match === null) throw new CliError('CLI_USAGE', '--duration wants a number and m, h or d: 90m, 24h, 7d')
  return Number(match[1]) * (units[match[2] ?? ''] as number)
}

async function runFreeze(context: Context, options: FreezeOptions): Promise<CommandResult> {
  const now = context.clock()
  const until = new Date(now + durationMs(options.duration)).toISOString()
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

async function runReport(context: Context, options: ReportOptions): Promise<CommandResult> {
  const limit = Number(options.events)
  if (!Number.isInteger(limit) || limit < 1) throw new CliError('CLI_USAGE', '--events wants a whole number')
  refuseExisting(options.output, options.force)
  const report = await emergencyReport(context, await openIdentity(context, { alias: options.alias }), limit)
  if (options.output !== undefined)
    await writeFileAtomic(options.output, new TextEncoder().encode(`${JSON.stringify(report, null, 2)}\n`), {
      overwrite: options.force === true,
    })
  return { data: report, text: reportText(report) }
}

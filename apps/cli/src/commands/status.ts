import { resolve } from 'node:path'
import { utf8Encode } from '@keyturn/primitives'
import type { JsonValue } from '@keyturn/primitives'
import { pathExists, writeFileAtomic } from '@keyturn/primitives/node'
import type { Command } from 'commander'
import { askAgent } from '../agent/ask-agent.ts'
import type { Cli, CommandResult, Context } from '../command.ts'
import { CliError } from '../errors.ts'
import { homePaths, openHome } from '@keyturn/publisher'
import { collectStatus, namedStatus, withServerHeads, writeCalendar } from '@keyturn/publisher/health'
import type { HomeStatus, NamedStatus, StatusItem } from '@keyturn/publisher/health'
import { finishingCommand } from '@keyturn/publisher/pending'
import { counted, formatTable } from '../output.ts'
import { refuseExisting } from '../paths.ts'

interface StatusOptions {
  readonly check?: boolean | undefined
  readonly ics?: string | undefined
  readonly force?: boolean | undefined
}

/** Registers `keyturn status`. */
export function registerStatus(program: Command, cli: Cli): void {
  const status = program
    .command('status')
    .description('list every key with its age and when it is due, and each channel; asks for no passphrase')
    .option('--check', 'exit with 1 when anything is due, for cron')
    .option('--ics <file>', 'write the due dates as a calendar file')
    .option('--force', 'replace an existing calendar file')
  cli.define<StatusOptions>(status, {
    example: ['keyturn status', 'keyturn status --check --quiet', 'keyturn status --ics due.ics'],
    run: runStatus,
  })
}

async function runStatus(context: Context, options: StatusOptions): Promise<CommandResult> {
  refuseExisting(options.ics, options.force)
  const nowMs = context.clock()
  const alone = await identitiesAlone(context, nowMs)
  if (alone !== undefined) return await answer(context, options, alone, identitiesText(alone.identities, alone.items))
  const home = await openHome(context)
  const { status, warning } = await withServerHeads(home, await collectStatus(home, nowMs), nowMs)
  if (warning !== undefined) context.warn(warning)
  if (status.last_backup === undefined && !status.for_ci)
    context.warn('No backup of this home was ever made: run "keyturn backup FILE"')
  const commands = await Promise.all(status.pending.map((name) => finishingCommand(home.paths.journals, name)))
  return await answer(context, options, status, statusText(status, commands))
}

/** What is shown of any home. */
type Shown = Pick<HomeStatus, 'items' | 'pending' | 'identities'> & Partial<HomeStatus>

/** A home without a release identity, which has identities of `id init` alone; undefined for any other. */
async function identitiesAlone(context: Context, nowMs: number): Promise<Shown | undefined> {
  const folder = context.homeFolder
  if (await pathExists(homePaths(folder).description)) return undefined
  const named = await namedStatus(folder, {}, nowMs)
  return named.identities.length === 0 ? undefined : { ...named, pending: [] }
}

async function answer(
  context: Context,
  options: StatusOptions,
  status: Shown,
  lines: readonly string[],
): Promise<CommandResult> {
  const nowMs = context.clock()
  const untilMs = (await askAgent(context, 'status'))?.untilMs
  const until = untilMs === undefined ? undefined : new Date(untilMs).toISOString()
  const { product = 'keyturn', prefix = status.identities[0]?.prefix ?? '', items } = status
  if (options.ics !== undefined)
    await writeFileAtomic(resolve(options.ics), utf8Encode(writeCalendar({ product, prefix, items }, nowMs)), {
      overwrite: options.force === true,
    })
  const due = items.filter(({ due_state }) => due_state === 'due' || due_state === 'expired')
  const interrupted = status.pending.length + status.identities.filter((one) => one.rotation_pending).length
  return {
    data: { ...statusData(status), due: due.map(({ kind, id }) => `${kind} ${id}`), unlocked_until: until },
    text: [
      // From cron, a mail is sent when there is anything to read.
      ...(context.quiet && options.check === true ? [] : lines),
      ...(until === undefined || context.quiet ? [] : [`unlocked until ${until}: "keyturn lock" ends it`]),
      ...due.map(({ kind, id, mend }) => `DUE ${kind} ${id}: ${mend}`),
    ].join('\n'),
    failure: options.check === true ? unsettled(due.length, interrupted) : undefined,
  }
}

/** What cron gets; undefined when nothing is to be done. */
function unsettled(due: number, pending: number): CliError | undefined {
  if (due + pending === 0) return undefined
  const parts = [
    ...(due === 0 ? [] : [`${counted(due, 'thing')} due`]),
    ...(pending === 0 ? [] : [`${counted(pending, 'rotation')} interrupted`]),
  ]
  return new CliError('CLI_DUE', parts.join(', '), {
    hint: 'Run "keyturn rotate all --due --dry-run" to see what would be rotated',
    details: { due, pending },
  })
}

function statusData(status: Shown): Record<string, JsonValue> {
  return JSON.parse(JSON.stringify(status)) as Record<string, JsonValue>
}

function channelText({ channel, releases, offered, state, others, waiting }: HomeStatus['channels'][number]): string {
  const shown = state === undefined || state === 'offered' ? '' : ` (${state})`
  const rest = others === undefined ? '' : `, ${others} to the others`
  const unpublished = waiting === undefined ? '' : `; a head for ${waiting} was signed and never published`
  const offer = offered === undefined ? 'nothing offered' : `offers ${offered}${shown}${rest}`
  return `${channel}: ${counted(releases, 'release')}, ${offer}${unpublished}`
}

function statusText(status: HomeStatus, commands: readonly string[]): string[] {
  const backup = status.last_backup === undefined ? 'never: run "keyturn backup FILE"' : status.last_backup.slice(0, 10)
  return [
    `identity ${status.prefix}, event ${status.sn}, role document ${status.roles_version}`,
    ...(status.for_ci
      ? ['a home for CI: it has no identity key']
      : [
          `next identity key: ${status.next_key_file}${status.next_key_at_hand ? '' : ' (not here)'}`,
          `last backup: ${backup}`,
        ]),
    '',
    keysTable(status.items),
    '',
    ...(status.channels.length === 0 ? ['no release yet'] : status.channels.map(channelText)),
    ...status.identities.map(identityText),
    ...status.pending.map(
      (name, index) => `A rotation of ${name} was interrupted: run "${commands[index]}" to finish it`,
    ),
  ]
}

function identitiesText(identities: readonly NamedStatus[], items: readonly StatusItem[]): string[] {
  return [keysTable(items), '', ...identities.map(identityText)]
}

function identityText({ alias, prefix, sn, problem, rotation_pending: pending, unsealed }: NamedStatus): string {
  const place = problem === undefined ? `event ${sn}` : `its log: ${problem}, see "keyturn id show --alias ${alias}"`
  return [
    `identity "${alias}" ${prefix}, ${place}`,
    ...(unsealed === 0 ? [] : [`${counted(unsealed, 'signature')} for its next rotation to seal`]),
    ...(pending ? [`a rotation was interrupted: run "keyturn id rotate --alias ${alias}" to finish it`] : []),
  ].join('; ')
}

function keysTable(items: readonly StatusItem[]): string {
  const day = (date: string | undefined): string => (date === undefined ? '' : date.slice(0, 10))
  const rows = items.map(({ kind, id, name, state, age_days, due: at, due_state, overlap_ends: until }) => [
    kind,
    id,
    name,
    state,
    age_days === undefined ? '' : `${age_days} d`,
    day(at),
    day(until),
    due_state === 'ok' ? '' : due_state.toUpperCase(),
  ])
  return formatTable([['key', 'which', 'name', 'state', 'age', 'due', 'overlap', ''], ...rows])
}

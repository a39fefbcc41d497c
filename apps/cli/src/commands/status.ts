import { resolve } from 'node:path'
import { utf8Encode } from '@keyturn/primitives'
import type { JsonValue } from '@keyturn/primitives'
import { writeFileAtomic } from '@keyturn/primitives/node'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../command.ts'
import { CliError } from '../errors.ts'
import { openHome } from '@keyturn/publisher'
import { collectStatus, withServerHeads, writeCalendar } from '@keyturn/publisher/health'
import type { HomeStatus, StatusItem } from '@keyturn/publisher/health'
import { finishingCommand } from '@keyturn/publisher/rotation'
import { counted, formatTable } from '../output.ts'
import { refuseExisting } from '../paths.ts'

interface StatusOptions {
  readonly check?: boolean
  readonly ics?: string
  readonly force?: boolean
}

/** Registers `keyturn status`. */
export function registerStatus(program: Command, cli: Cli): void {
  const status = program
    .command('status')
    .description('every key: age, state, when it is due; releases per channel; asks for no passphrase')
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
  const home = await openHome(context)
  const { status, warning } = await withServerHeads(home, await collectStatus(home, nowMs), nowMs)
  if (warning !== undefined) context.warn(warning)
  if (options.ics !== undefined)
    await writeFileAtomic(resolve(options.ics), utf8Encode(writeCalendar(status, nowMs)), {
      overwrite: options.force === true,
    })
  const due = status.items.filter(({ due_state }) => due_state === 'due' || due_state === 'expired')
  return {
    data: { ...statusData(status), due: due.map(({ kind, id }) => `${kind} ${id}`) },
    text: statusText(
      status,
      due,
      await Promise.all(status.pending.map((name) => finishingCommand(home.paths.journals, name))),
    ),
    failure: options.check === true ? unsettled(due.length, status.pending.length) : undefined,
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

function statusData(status: HomeStatus): Record<string, JsonValue> {
  return JSON.parse(JSON.stringify(status)) as Record<string, JsonValue>
}

function statusText(status: HomeStatus, due: readonly StatusItem[], commands: readonly string[]): string {
  const day = (date: string | undefined): string => (date === undefined ? '' : date.slice(0, 10))
  const rows = status.items.map(({ kind, id, name, state, age_days, due: at, due_state, overlap_ends: until }) => [
    kind,
    id,
    name,
    state,
    age_days === undefined ? '' : `${age_days} d`,
    day(at),
    day(until),
    due_state === 'ok' ? '' : due_state.toUpperCase(),
  ])
  const channels = status.channels.map(
    ({ channel, releases, offered }) =>
      `${channel}: ${counted(releases, 'release')}, ${offered === undefined ? 'nothing offered' : `offers ${offered}`}`,
  )
  return [
    `identity ${status.prefix}, event ${status.sn}, role document ${status.roles_version}`,
    `next identity key: ${status.next_key_file}${status.next_key_at_hand ? '' : ' (not here)'}`,
    '',
    formatTable([['key', 'which', 'name', 'state', 'age', 'due', 'overlap', ''], ...rows]),
    '',
    ...(channels.length === 0 ? ['no release yet'] : channels),
    ...status.pending.map(
      (name, index) => `A rotation of ${name} was interrupted: run "${commands[index]}" to finish it`,
    ),
    ...due.map(({ kind, id, mend }) => `DUE ${kind} ${id}: ${mend}`),
  ].join('\n')
}

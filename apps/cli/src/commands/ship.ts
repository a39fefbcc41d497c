import { readFile } from 'node:fs/promises'
import { formatBytes, KeyturnError, printable } from '@keyturn/primitives'
import { openHome, PublisherError } from '@keyturn/publisher'
import { openClient, PROJECT_FILE } from '@keyturn/publisher/release'
import type { Project, ServerOptions } from '@keyturn/publisher/release'
import { shipRelease } from '@keyturn/publisher/ship'
import type { PlannedSchedule, Shipped, ShipSummary } from '@keyturn/publisher/ship'
import type { Command } from 'commander'
import type { Cli, CommandData, CommandResult, Context } from '../command.ts'
import { CliError } from '../errors.ts'
import type { ChannelOption } from '../flags/channel.ts'
import { withServer } from '../flags/server.ts'
import { findProjectFor } from '../flags/project.ts'
import { parseAt } from '../flags/time.ts'
import { wholeNumber } from '../flags/values.ts'
import { counted, formatTable } from '../output.ts'
import { autoHaltOf, autoHaltText, putAutoHalt, withAutoHalt } from './release/auto-halt.ts'
import type { AutoHaltOptions, AutoHaltRule } from './release/auto-halt.ts'
import { warnOfKey } from './release/key-problem.ts'

interface ShipOptions extends ChannelOption, ServerOptions, AutoHaltOptions {
  readonly project?: string | undefined
  readonly percent?: string | undefined
  readonly resume?: boolean | undefined
  readonly notesFile?: string | undefined
  readonly versionName?: string | undefined
  readonly level: string
  readonly cache: boolean
  readonly runtimeKeyFile: boolean
  readonly at?: string | undefined
  readonly allowReadable?: boolean | undefined
}

/** Registers `keyturn ship`. */
export function registerShip(program: Command, cli: Cli): void {
  const command = withServer(
    program
      .command('ship')
      .description('pack, prepare, sign, offer and publish the client of this project, after one question')
      .option('--project <file>', `the project file (default: ${PROJECT_FILE} here or in a folder above)`)
      .option('--channel <name>', 'the channel (default: that of the home)')
      .option('--percent <n>', 'offer it to this share of installs only; 100 ends a rollout')
      .option('--resume', 'end a halt of the channel')
      .option('--notes-file <file>', 'Markdown for players (default: that of the project)')
      .option('--version-name <text>', 'name of the release (default: today with the next number)')
      .option('--level <n>', 'zstd level, 1 to 22', '12')
      .option('--no-cache', 'read every file, also where size, times and inode are as when it was packed last')
      .option(
        '--no-runtime-key-file',
        'leave runtime-key.json out: the server delivers the key over Noise (default: as the release before)',
      )
      .option('--at <time>', 'schedule it: players fetch it now, sealed, and open it at this time (2026-12-04T18:00Z)')
      .option(
        '--allow-readable',
        'with --at: accept that what archives do not hold, and the notes, can be read before',
      ),
  )
  const ship = withAutoHalt(command)
  cli.define<ShipOptions>(ship, {
    example: [
      'keyturn ship',
      'keyturn ship --percent 20 --auto-halt 97',
      'keyturn ship --channel beta --version-name 1.4.2',
      'keyturn ship --at 2026-12-04T18:00Z --dry-run',
    ],
    dryRun: true,
    run: runShip,
  })
}

async function projectOf(options: ShipOptions): Promise<Project> {
  const found = await findProjectFor(options)
  if (found !== undefined) return found
  throw new PublisherError('PRJ_NOT_FOUND', `No ${PROJECT_FILE} here or in a folder above`, {
    hint: 'Run "keyturn project init" beside the client, or name one with --project',
  })
}

async function runShip(context: Context, options: ShipOptions): Promise<CommandResult> {
  checkFlags(options)
  const { autoHalt } = options
  const rule = autoHaltOf(options)
  const shipped = await shipRelease(context, {
    ...options,
    project: await projectOf(options),
    version: options.versionName,
    atMs: options.at === undefined ? undefined : parseAt(options.at),
    percent: options.percent === undefined ? undefined : wholeNumber(options.percent, '--percent', 0, 100),
    notes: options.notesFile === undefined ? undefined : await readFile(options.notesFile, 'utf8'),
    runtimeKeyFile: options.runtimeKeyFile ? undefined : false,
    level: wholeNumber(options.level, '--level', 1, 22),
    noCache: !options.cache,
    confirm: async (summary) => {
      if (rule !== undefined && summary.previous === undefined) throw nothingBefore(summary.channel)
      return await confirmSummary(context, summary)
    },
    progress: (work) => context.out.progress(work),
  })
  warnOfKey(context, shipped.channel, shipped.report)
  const result = { data: shippedData(shipped), text: shippedText(shipped, context) }
  if (autoHalt === undefined || shipped.headSequence === undefined) return result
  return await withRule(context, options, { shipped, rule, result })
}

/** What is shipped stays shipped: a rule that the server refuses is a failure of its own. */
async function withRule(
  context: Context,
  options: ShipOptions,
  { shipped: { channel }, rule, result }: { shipped: Shipped; rule: AutoHaltRule; result: CommandResult },
): Promise<CommandResult> {
  try {
    const home = await openHome(context)
    const client = await openClient(options, home)
    const set = await putAutoHalt(context, { client, product: home.description.product, channel }, rule)
    return {
      data: { ...result.data, auto_halt: set === undefined ? null : { ...set } },
      text: `${result.text ?? ''}\n${autoHaltText(channel, set)}`,
    }
  } catch (error) {
    if (error instanceof KeyturnError) return { ...result, failure: error }
    throw error
  }
}

function checkFlags({ at, percent, resume, allowReadable, autoHalt }: ShipOptions): void {
  if (at !== undefined && (percent !== undefined || resume === true))
    throw new CliError('CLI_USAGE', 'A scheduled release opens for everybody: --at excludes --percent and --resume')
  if (at !== undefined && autoHalt !== undefined)
    throw new CliError('CLI_USAGE', 'A rollout halts itself once it runs: give --auto-halt when the release is open', {
      hint: 'keyturn release rollout --auto-halt <n>',
    })
  if (at === undefined && allowReadable === true) throw new CliError('CLI_USAGE', '--allow-readable belongs to --at')
}

function nothingBefore(channel: string): CliError {
  return new CliError(
    'CLI_USAGE',
    `Nothing was released on channel "${channel}" before: a halt has no other to offer`,
    {
      hint: 'Ship the first release without --auto-halt',
    },
  )
}

/** Asks once; `false` when there is nothing to ship and nobody to ask. */
async function confirmSummary(context: Context, summary: ShipSummary): Promise<boolean | undefined> {
  if (context.out.events || isSummaryAsked(context)) context.onStep('ship-summary', summaryText(summary))
  const { version, channel, percent, unchanged, previous } = summary
  if (unchanged && context.ask.agreed) return false
  const audience = percent === 100 ? 'everyone on it' : `${percent} % of its players`
  const question = unchanged
    ? `Nothing changed since ${previous}. Ship it again as ${version}?`
    : summary.scheduled === undefined
      ? `Ship ${version} on channel "${channel}" to ${audience}?`
      : `Seal ${version} and open it on channel "${channel}" at ${summary.scheduled.at}?`
  await context.ask.confirm(question)
  return undefined
}

function shippedData(shipped: Shipped): CommandData {
  return {
    shipped: shipped.headSequence !== undefined,
    unchanged: shipped.unchanged,
    channel: shipped.channel,
    version: shipped.version,
    previous: shipped.previous,
    format: shipped.format,
    key_id: shipped.keyId,
    added: shipped.added,
    changed: shipped.changed,
    removed: shipped.removed,
    download_bytes: shipped.downloadBytes,
    full_bytes: shipped.fullBytes,
    head_sequence: shipped.headSequence,
    uploaded_bytes: shipped.report?.bytes,
    opens_at: shipped.scheduled?.at,
    readable_before: shipped.scheduled === undefined ? undefined : readableParts(shipped.scheduled.readable),
  }
}

/** Whether a person reads the summary before they answer: then the result does not repeat it. */
function isSummaryAsked({ ask, quiet }: Context): boolean {
  return !ask.agreed && !quiet
}

function shippedText(shipped: Shipped, context: Context): string {
  const { version, channel, report, headSequence, unchanged, previous } = shipped
  const { dryRun } = context
  const summary = summaryText(shipped)
  if (headSequence === undefined && unchanged) {
    const nothing = `nothing ${dryRun ? 'would be' : 'was'} shipped`
    return `Nothing changed since ${previous ?? ''}: ${nothing}, ${channel} offers it already`
  }
  if (headSequence === undefined)
    return `Would ${shipped.scheduled === undefined ? 'ship' : 'schedule'} ${version}\n${summary}`
  const shown = isSummaryAsked(context) ? [] : [summary]
  if (shipped.scheduled !== undefined)
    return [
      ...shown,
      `${version} is sealed and opens on ${channel} at ${shipped.scheduled.at}`,
      '"keyturn serve" opens it at that time, else the first "keyturn release renew" after it. Make a backup of the ' +
        'home now: the key is nowhere else',
    ].join('\n')
  return [...shown, `Shipped ${version} on ${channel}: ${formatBytes(report?.bytes ?? 0)} uploaded`].join('\n')
}

/** What changes, and what a player has to download for it. */
function summaryText(summary: ShipSummary): string {
  const { version, previous, format, keyId, added, changed, removed, downloadBytes, fullBytes } = summary
  return formatTable([
    ['release', `${version}, ${format}, content key ${keyId}`],
    [
      'files',
      `${previous === undefined ? counted(added, 'file') : `${added} added, ${changed} changed, ${removed} removed`}, where an ` +
        'archive counts as one',
    ],
    [
      'players download',
      previous === undefined
        ? formatBytes(fullBytes)
        : `${formatBytes(downloadBytes)} coming from ${previous}, ${formatBytes(fullBytes)} for a first install`,
    ],
    ...scheduleRows(summary.scheduled),
  ])
}

function scheduleRows(scheduled: PlannedSchedule | undefined): string[][] {
  if (scheduled === undefined) return []
  const parts = readableParts(scheduled.readable)
  return [
    ['opens', scheduled.at],
    ['readable before', parts.length === 0 ? 'nothing' : parts.join(', ')],
  ]
}

function readableParts({ files, archives, notes }: PlannedSchedule['readable']): string[] {
  return [
    ...files.map((path) => `the bytes of ${printable(path)}`),
    ...archives.map((path) => `the name of ${printable(path)}`),
    ...(notes ? ['the notes'] : []),
  ]
}

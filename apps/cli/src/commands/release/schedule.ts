import { printable } from '@keyturn/primitives'
import { cancelSchedule, offerNow, scheduleRelease } from '@keyturn/publisher/offers'
import { readKnownHeads, scheduledOn } from '@keyturn/publisher/records'
import { openKnownClient } from '@keyturn/publisher/release'
import type { PutOffer, PutOfferOptions } from '@keyturn/publisher/offers'
import type { HomeSession } from '@keyturn/publisher'
import { openHome } from '@keyturn/publisher'
import { openToRelease } from '@keyturn/publisher/ship'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { channelOf } from '../../flags/channel.ts'
import { parseAt } from '../../flags/time.ts'
import type { ChannelOption } from '../../flags/channel.ts'
import { formatTable } from '../../output.ts'
import { publishedText, withOffer } from './change-offer.ts'
import type { OfferOptions } from './change-offer.ts'

interface ScheduleOptions extends ChannelOption, OfferOptions {
  readonly at?: string | undefined
  readonly now?: boolean | undefined
  readonly cancel?: boolean | undefined
  readonly list?: boolean | undefined
  readonly allowReadable?: boolean | undefined
}

/** Registers `keyturn release schedule`. */
export function registerSchedule(release: Command, cli: Cli): void {
  const schedule = withOffer(
    release
      .command('schedule')
      .description('let launchers fetch a release now, sealed, and play it at an hour; --at again moves the hour')
      .argument('[version]', 'a release that was prepared and never offered')
      .option('--channel <name>', 'the channel (default: that of the home)')
      .option('--at <time>', 'when it opens, like 2026-12-04T18:00Z')
      .option('--now', 'release what is scheduled at once')
      .option('--cancel', 'take the schedule back: launchers drop what they fetched')
      .option('--list', 'show what is scheduled')
      .option('--allow-readable', 'accept that files outside archives, new archive names and notes can be read before'),
  )
  cli.define<ScheduleOptions>(schedule, {
    example: [
      'keyturn release schedule 1.5.0 --at 2026-12-04T18:00Z',
      'keyturn release schedule 1.5.0 --now',
      'keyturn release schedule --cancel',
      'keyturn release schedule --list',
    ],
    run: (context, options, [version]) => runSchedule(context, options, version),
  })
}

async function runSchedule(
  context: Context,
  options: ScheduleOptions,
  version: string | undefined,
): Promise<CommandResult> {
  const asked = [options.at !== undefined, options.now, options.cancel, options.list].filter((flag) => flag === true)
  if (asked.length !== 1)
    throw new CliError('CLI_USAGE', 'Give one of --at, --now, --cancel and --list', {
      hint: 'keyturn release schedule VERSION --at 2026-12-04T18:00Z',
    })
  if (options.list === true) return await list(context, options)
  if (options.at !== undefined && version === undefined)
    throw new CliError('CLI_USAGE', 'Which release is to be scheduled?', {
      hint: 'keyturn release schedule VERSION --at 2026-12-04T18:00Z',
    })
  const atMs = options.at === undefined ? undefined : parseAt(options.at)
  const home = await openToRelease(context, { write: true })
  const channel = channelOf(options, home.description)
  const client = await openKnownClient(options, home)
  const put: PutOfferOptions = { client, nowMs: context.clock(), signal: context.signal }
  if (options.cancel === true) return cancelled(channel, await cancelSchedule(home, channel, { ...put, version }))
  if (atMs === undefined) return opened(channel, await offerNow(home, channel, { ...put, version }))
  return await scheduled(context, { home, channel, version: version ?? '', put, atMs }, options.allowReadable === true)
}

interface Wanted {
  readonly home: HomeSession
  readonly channel: string
  readonly version: string
  readonly put: PutOfferOptions
  readonly atMs: number
}

async function scheduled(
  context: Context,
  { home, channel, version, put, atMs }: Wanted,
  allowReadable: boolean,
): Promise<CommandResult> {
  const progress = context.out.progress('sealing')
  try {
    const done = await scheduleRelease(home, channel, version, { ...put, atMs, allowReadable, progress })
    const { at, keyId, moved, release } = done
    return {
      data: {
        channel,
        version,
        at,
        key_id: keyId,
        sequence: release.manifest.sequence,
        moved,
        ...headFacts(done),
      },
      text:
        `${printable(version)} ${moved ? 'now opens' : 'is sealed and opens'} on ${channel} at ${at}; ` +
        `${publishedText(done)}\n` +
        'The first "keyturn release renew" after that time opens it; keep a backup of the home: the ' +
        'key is nowhere else',
    }
  } finally {
    progress.end()
  }
}

function headFacts({ head, report }: PutOffer): Record<string, number | boolean | undefined> {
  return { head_sequence: head.head.sequence, published: report !== undefined, uploaded_bytes: report?.bytes }
}

function cancelled(channel: string, done: PutOffer & { readonly version: string }): CommandResult {
  return {
    data: { channel, version: done.version, cancelled: true, ...headFacts(done) },
    text: `${done.version} is no longer scheduled on ${channel}; ${publishedText(done)}`,
  }
}

function opened(channel: string, done: PutOffer): CommandResult {
  const { version } = done.head.head.manifest
  return {
    data: { channel, version, opened: true, ...headFacts(done) },
    text: `${version} is open on ${channel}; ${publishedText(done)}`,
  }
}

async function list(context: Context, options: ScheduleOptions): Promise<CommandResult> {
  const home = await openHome(context)
  const channel = channelOf(options, home.description)
  const { base } = await readKnownHeads(home, channel, await openKnownClient(options, home))
  const preload = base?.head.preload
  const own = scheduledOn(home.description, channel)
  const keptOnly = preload === undefined && own !== undefined
  const halted = base?.head.rollout?.paused === true
  const rows =
    preload === undefined
      ? []
      : [
          ['release', preload.version],
          ['opens', preload.at],
          [
            'state',
            halted ? 'waits: the channel is halted' : context.clock() < Date.parse(preload.at) ? 'sealed' : 'due',
          ],
          ['key', own === undefined ? 'in another home' : `content key ${own.keyId}, in this home alone`],
        ]
  return {
    data: {
      channel,
      scheduled:
        preload === undefined
          ? []
          : [
              {
                version: preload.version,
                at: preload.at,
                sequence: preload.sequence,
                halted,
                key_here: own !== undefined,
              },
            ],
    },
    text:
      rows.length > 0
        ? formatTable(rows)
        : `Nothing is scheduled on ${channel}${keptOnly ? `; ${own.version} was sealed here and is in no head` : ''}`,
  }
}

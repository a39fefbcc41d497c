import { printable } from '@keyturn/primitives'
import { PublisherError } from '@keyturn/publisher'
import { renewOffer } from '@keyturn/publisher/offers'
import { readChannelsWithHead } from '@keyturn/publisher/records'
import { openKnownClient } from '@keyturn/publisher/release'
import type { RenewedOffer } from '@keyturn/publisher/offers'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { channelOf } from '../../flags/channel.ts'
import type { ChannelOption } from '../../flags/channel.ts'
import { collect, wholeNumber } from '../../flags/values.ts'
import { publishedText, withOffer } from './change-offer.ts'
import type { OfferOptions } from './change-offer.ts'
import { headData, headText } from './offer.ts'
import { openToRelease } from '@keyturn/publisher/ship'

interface RenewOptions extends ChannelOption, OfferOptions {
  readonly all?: boolean | undefined
  readonly days?: string | undefined
  readonly key?: readonly string[] | undefined
}

/** Registers `keyturn release renew`. */
export function registerRenew(release: Command, cli: Cli): void {
  const renew = withOffer(
    release
      .command('renew')
      .description('repeat what a channel offers now with a new date, and publish it; it never picks a release')
      .option('--channel <name>', 'the channel (default: that of the home)')
      .option('--all', 'every channel that offers something')
      .option('--days <n>', 'days the head is valid (default, and at most: what the role document allows, 7 or more)')
      .option(
        '--key <alias>',
        'sign with this key; may be given several times (default: the head key in force)',
        collect,
      ),
  )
  cli.define<RenewOptions>(renew, {
    example: ['keyturn release renew --all', 'keyturn release renew --channel beta'],
    run: runRenew,
  })
}

async function runRenew(context: Context, options: RenewOptions): Promise<CommandResult> {
  if (options.all === true && options.channel !== undefined)
    throw new CliError('CLI_USAGE', '--all and --channel exclude each other')
  const home = await openToRelease(context, { write: true })
  const client = await openKnownClient(options, home)
  const channels =
    options.all === true ? await readChannelsWithHead(home, client) : [channelOf(options, home.description)]
  if (channels.length === 0)
    throw new PublisherError('REL_NO_OFFER', 'Nothing is offered on any channel yet', {
      hint: 'Run "keyturn release offer VERSION"',
    })
  const days = options.days === undefined ? undefined : wholeNumber(options.days, '--days', 1, 30)
  const renewed: RenewedOffer[] = []
  for (const channel of channels) {
    const { signal } = context
    const one = await renewOffer(home, channel, { client, nowMs: context.clock(), signal, days, aliases: options.key })
    warnOfWaiting(context, one)
    warnOfHalt(context, one)
    warnOfSchedule(context, one)
    renewed.push(one)
  }
  return {
    data: {
      renewed: renewed.map(({ head, report, scheduled }) => ({
        channel: head.head.channel,
        published: report !== undefined,
        ...(scheduled === 'none' ? {} : { schedule: scheduled }),
        ...defined(headData(head.head)),
      })),
    },
    text: renewed.map((one) => `${headText(one.head.head)}\n${publishedText(one)}`).join('\n'),
  }
}

function defined(record: ReturnType<typeof headData>): Record<string, string | number | boolean> {
  const entries = Object.entries(record).filter(
    (entry): entry is [string, string | number | boolean] => entry[1] !== undefined,
  )
  return Object.fromEntries(entries)
}

/** A release whose hour has come, and that does not open by itself. */
function warnOfSchedule(context: Context, { scheduled, head: { head } }: RenewedOffer): void {
  const { channel, preload } = head
  if (preload === undefined) return
  if (scheduled === 'halted')
    context.warn(
      `Release ${preload.version} was to open on channel "${channel}" at ${preload.at}, but the channel is halted: ` +
        'it opens with the first "keyturn release renew" after "keyturn release rollout --resume"',
    )
  if (scheduled === 'elsewhere')
    context.warn(
      `Release ${preload.version} was to open on channel "${channel}" at ${preload.at}, but its key is ` +
        'in another home: run "keyturn release renew" there',
    )
}

/** A halt that somebody asked the server for: a renewal decides nothing about it. */
function warnOfHalt(context: Context, { report, head: { head } }: RenewedOffer): void {
  if (report?.wanted?.action !== 'halt') return
  const { asked_by: by, asked_at: at } = report.wanted
  context.warn(
    `Channel "${head.channel}": ${printable(by, 80)} asked for a halt at ${at}, and no head signer has signed it: ` +
      'run "keyturn release halt"',
  )
}

/** A release that was signed to go out later does not go out by the way. */
function warnOfWaiting(context: Context, { waiting }: RenewedOffer): void {
  if (waiting === undefined) return
  const { channel, sequence, manifest } = waiting.head
  context.warn(
    `Head ${sequence} of channel "${channel}", which offers ${manifest.version}, was signed and never published; ` +
      'it is left as it is',
  )
}

import { changeRollout } from '@keyturn/publisher/offers'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import type { ChannelOption } from '../../flags/channel.ts'
import { wholeNumber } from '../../flags/values.ts'
import { autoHaltOf, autoHaltText, putAutoHalt, runAutoHalt, withAutoHalt } from './auto-halt.ts'
import type { AutoHaltOptions } from './auto-halt.ts'
import { currentOffer, fallbackOf, freshSalt, publishedText, put, withOffer } from './change-offer.ts'
import type { OfferOptions } from './change-offer.ts'

interface RolloutOptions extends ChannelOption, OfferOptions, AutoHaltOptions {
  readonly percent?: string | undefined
  readonly pause?: boolean | undefined
  readonly resume?: boolean | undefined
}

/** Registers `keyturn release rollout`. */
export function registerRollout(release: Command, cli: Cli): void {
  const rollout = withAutoHalt(
    withOffer(
      release
        .command('rollout')
        .description('change the share of installs that get the release on offer; raising it never drops anyone')
        .option('--channel <name>', 'the channel (default: that of the home)')
        .option('--percent <n>', '0 to 100; at 100 the rollout is over')
        .option('--pause', 'let nobody new in')
        .option('--resume', 'go on'),
    ),
  )
  cli.define<RolloutOptions>(rollout, {
    example: ['keyturn release rollout --percent 50', 'keyturn release rollout --percent 20 --auto-halt 97'],
    run: runRollout,
  })
}

async function runRollout(context: Context, options: RolloutOptions): Promise<CommandResult> {
  const { percent, pause, resume, autoHalt, local } = options
  if (percent === undefined && pause !== true && resume !== true) {
    if (autoHalt === undefined) throw new CliError('CLI_USAGE', 'Give --percent, --pause, --resume or --auto-halt')
    return await runAutoHalt(context, options)
  }
  const rule = autoHaltOf(options)
  if (autoHalt !== undefined && local === true)
    throw new CliError('CLI_USAGE', 'The server halts a rollout by itself: --auto-halt does not go with --local')
  const share = percent === undefined ? undefined : wholeNumber(percent, '--percent', 0, 100)
  const current = await currentOffer(context, options)
  const ends = (share ?? current.base.head.rollout?.percent ?? 100) === 100 && pause !== true
  const offer = changeRollout(current.base.head, {
    percent: share,
    pause,
    resume,
    fallback: ends && current.base.head.rollout?.paused !== true ? undefined : await fallbackOf(current),
    salt: freshSalt(),
  })
  const { client, channel } = current
  if (autoHalt !== undefined && client === undefined)
    throw new CliError('CLI_USAGE', 'The server halts a rollout by itself: --auto-halt needs --server')
  const done = await put(context, current, offer)
  const { product } = current.home.description
  const set =
    autoHalt === undefined || client === undefined
      ? undefined
      : { rule: await putAutoHalt(context, { client, product, channel }, rule) }
  const { rollout, manifest, sequence } = done.head.head
  return {
    data: {
      channel: current.channel,
      version: manifest.version,
      sequence,
      percent: rollout?.percent ?? 100,
      paused: rollout?.paused ?? false,
      published: done.report !== undefined,
      ...(set !== undefined && { auto_halt: set.rule === undefined ? null : { ...set.rule } }),
    },
    text:
      `${manifest.version} goes to ${rollout?.percent ?? 100} % on ${current.channel}` +
      `${rollout?.paused === true ? ', halted' : ''}; ${publishedText(done)}` +
      `${rollout?.paused === true ? '\nNobody new gets it until "keyturn release rollout --resume"' : ''}` +
      (set === undefined ? '' : `\n${autoHaltText(channel, set.rule)}`),
  }
}

import { changeRollout } from '@keyturn/publisher/offers'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import type { ChannelOption } from '../../flags/channel.ts'
import { wholeNumber } from '../../flags/values.ts'
import { currentOffer, fallbackOf, freshSalt, publishedText, put, withOffer } from './change-offer.ts'
import type { OfferOptions } from './change-offer.ts'

interface RolloutOptions extends ChannelOption, OfferOptions {
  readonly percent?: string | undefined
  readonly pause?: boolean | undefined
  readonly resume?: boolean | undefined
}

/** Registers `keyturn release rollout`. */
export function registerRollout(release: Command, cli: Cli): void {
  const rollout = withOffer(
    release
      .command('rollout')
      .description('change the share of installs that get the release on offer; raising it never drops anyone')
      .option('--channel <name>', 'the channel (default: that of the home)')
      .option('--percent <n>', '0 to 100; at 100 the rollout is over')
      .option('--pause', 'let nobody new in')
      .option('--resume', 'go on'),
  )
  cli.define<RolloutOptions>(rollout, { example: 'keyturn release rollout --percent 50', run: runRollout })
}

async function runRollout(context: Context, options: RolloutOptions): Promise<CommandResult> {
  const { percent, pause, resume } = options
  if (percent === undefined && pause !== true && resume !== true)
    throw new CliError('CLI_USAGE', 'Give --percent, --pause or --resume')
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
  const done = await put(context, current, offer)
  const { rollout, manifest, sequence } = done.head.head
  return {
    data: {
      channel: current.channel,
      version: manifest.version,
      sequence,
      percent: rollout?.percent ?? 100,
      paused: rollout?.paused ?? false,
      published: done.report !== undefined,
    },
    text:
      `${manifest.version} goes to ${rollout?.percent ?? 100} % on ${current.channel}` +
      `${rollout?.paused === true ? ', halted' : ''}; ${publishedText(done)}` +
      `${rollout?.paused === true ? '\nNobody new gets it until "keyturn release rollout --resume"' : ''}`,
  }
}

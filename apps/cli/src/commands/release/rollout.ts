import type { Rollout } from '@keyturn/manifest'
import type { Command } from 'commander'
import { hexEncode, systemRandom } from '@keyturn/primitives'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { wholeNumber } from '../../flags/values.ts'
import { offer, publishedText, withOffer } from './offer.ts'
import type { OfferOptions } from './offer.ts'
import type { ChannelOption } from '../../flags/channel.ts'
import { offered, fallbackOf } from './offered.ts'

interface RolloutOptions extends ChannelOption, OfferOptions {
  readonly percent?: string
  readonly pause?: boolean
  readonly resume?: boolean
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

function changed(before: Rollout | undefined, options: RolloutOptions): Rollout | undefined {
  const percent =
    options.percent === undefined ? (before?.percent ?? 100) : wholeNumber(options.percent, '--percent', 0, 100)
  const paused = options.pause === true || (options.resume !== true && before?.paused === true)
  return percent === 100 && !paused ? undefined : { percent, paused, salt: before?.salt ?? hexEncode(systemRandom(16)) }
}

async function runRollout(context: Context, options: RolloutOptions): Promise<CommandResult> {
  if (options.percent === undefined && options.pause !== true && options.resume !== true) {
    throw new CliError('CLI_USAGE', '--percent, --pause or --resume is due')
  }
  const current = await offered(context, options)
  const rollout = changed(current.head.head.rollout, options)
  const fallback = rollout === undefined ? undefined : await fallbackOf(current)
  const { head, published } = await offer(context, current.home, current.release, options, { rollout, fallback })
  const { version } = current.release.manifest
  return {
    data: {
      channel: current.channel,
      version,
      sequence: head.head.sequence,
      percent: rollout?.percent ?? 100,
      paused: rollout?.paused ?? false,
      published,
    },
    text: `${version} goes to ${rollout?.percent ?? 100} % on ${current.channel}${rollout?.paused === true ? ', paused' : ''}; ${publishedText(published)}`,
  }
}

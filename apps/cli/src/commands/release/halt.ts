import { haltOffer } from '@keyturn/publisher/offers'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import type { ChannelOption } from '../../flags/channel.ts'
import { currentOffer, fallbackOf, freshSalt, publishedText, put, withOffer } from './change-offer.ts'
import type { OfferOptions } from './change-offer.ts'

interface HaltOptions extends ChannelOption, OfferOptions {
  readonly withdraw?: boolean | undefined
}

/** Registers `keyturn release halt`. */
export function registerHalt(release: Command, cli: Cli): void {
  const halt = withOffer(
    release
      .command('halt')
      .description('stop offering the release: nobody new gets it, those without it get the one before')
      .option('--channel <name>', 'the channel (default: that of the home)')
      .option(
        '--withdraw',
        'withdraw it for good: no launcher installs it any more, and those that have it look for another one',
      ),
  )
  cli.define<HaltOptions>(halt, { example: 'keyturn release halt --withdraw --yes', run: runHalt })
}

async function runHalt(context: Context, options: HaltOptions): Promise<CommandResult> {
  const current = await currentOffer(context, options)
  const withdraw = options.withdraw === true
  const fallback = await fallbackOf(current)
  const { version } = current.base.head.manifest
  // A halt alone is fast and can be undone.
  if (withdraw)
    await context.ask.confirm(
      `Withdraw ${version} on channel "${current.channel}" for good, so that no launcher ever installs it again?`,
    )
  const done = await put(context, current, haltOffer(current.base.head, { fallback, withdraw, salt: freshSalt() }))
  const { manifest, sequence } = done.head.head
  return {
    data: {
      channel: current.channel,
      version: manifest.version,
      fallback: fallback.version,
      sequence,
      withdrawn: withdraw,
      published: done.report !== undefined,
    },
    text:
      `${manifest.version} is ${withdraw ? 'withdrawn' : 'halted'} on ${current.channel}, others get ` +
      `${fallback.version}; ${publishedText(done)}\n${nextStep(withdraw, fallback.version)}`,
  }
}

/** A halt alone brings nobody back. */
function nextStep(isWithdrawn: boolean, fallback: string): string {
  const back = `Players who have it keep it; to bring them back: keyturn release rollback ${fallback}`
  return isWithdrawn ? back : `${back}\nTo offer it again after all: keyturn release rollout --resume`
}

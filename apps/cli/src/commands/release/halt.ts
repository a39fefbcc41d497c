import type { Command } from 'commander'
import { hexEncode, systemRandom } from '@keyturn/primitives'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { offer, publishedText, withOffer } from './offer.ts'
import type { OfferOptions } from './offer.ts'
import type { ChannelOption } from '../../flags/channel.ts'
import { offered, fallbackOf } from './offered.ts'

interface HaltOptions extends ChannelOption, OfferOptions {
  readonly withdraw?: boolean
}

/** Registers `keyturn release halt`. */
export function registerHalt(release: Command, cli: Cli): void {
  const halt = withOffer(
    release
      .command('halt')
      .description('stop offering the release: nobody new gets it, those without it get the one before')
      .option('--channel <name>', 'the channel (default: that of the home)')
      .option('--withdraw', 'also say that it is withdrawn: launchers that have it look for another one'),
  )
  cli.define<HaltOptions>(halt, { example: 'keyturn release halt --withdraw', run: runHalt })
}

async function runHalt(context: Context, options: HaltOptions): Promise<CommandResult> {
  const current = await offered(context, options)
  const { manifest, sha256 } = current.release
  const before = current.head.head
  const rollout = {
    percent: before.rollout?.percent ?? 0,
    paused: true,
    salt: before.rollout?.salt ?? hexEncode(systemRandom(16)),
  }
  const withdrawn = { sequence: manifest.sequence ?? 0, sha256 }
  const revoked =
    options.withdraw === true && !before.revoked.some((entry) => entry.sha256 === sha256)
      ? [...before.revoked, withdrawn]
      : before.revoked
  const fallback = await fallbackOf(current)
  const { head, published } = await offer(context, current.home, current.release, options, {
    rollout,
    fallback,
    revoked,
  })
  return {
    data: {
      channel: current.channel,
      version: manifest.version,
      fallback: fallback.manifest.version,
      sequence: head.head.sequence,
      withdrawn: options.withdraw === true,
      published,
    },
    text: `${manifest.version} is ${options.withdraw === true ? 'withdrawn' : 'halted'} on ${current.channel}, others get ${fallback.manifest.version}; ${publishedText(published)}`,
  }
}

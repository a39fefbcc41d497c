import type { Rollout } from '@keyturn/manifest'
import type { Command } from 'commander'
import { hexEncode, systemRandom } from '@keyturn/primitives'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { wholeNumber } from '../../flags/values.ts'
import type { HomeSession } from '@keyturn/publisher'
import { findRelease, readReleases, readStoredHead, signRelease } from '@keyturn/publisher/release'
import type { StoredHead, StoredRelease } from '@keyturn/publisher/release'
import { openToRelease } from './open.ts'
import { offer, publishedText, withOffer } from './offer.ts'
import type { OfferOptions } from './offer.ts'
import { channelOf } from '../../flags/channel.ts'
import type { ChannelOption } from '../../flags/channel.ts'

interface RolloutOptions extends ChannelOption, OfferOptions {
  readonly percent?: string
  readonly pause?: boolean
  readonly resume?: boolean
}

interface HaltOptions extends ChannelOption, OfferOptions {
  readonly withdraw?: boolean
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

interface Offered {
  readonly home: HomeSession
  readonly channel: string
  readonly head: StoredHead
  readonly release: StoredRelease
}

async function offered(context: Context, options: ChannelOption): Promise<Offered> {
  const home = await openToRelease(context, { write: true })
  const channel = channelOf(options, home.description)
  const head = await readStoredHead(home.paths, channel)
  if (head === undefined)
    throw new CliError('CLI_TURN_UNREADY', `Channel "${channel}" has no head yet`, {
      hint: 'Run "keyturn release head"',
    })
  return { home, channel, head, release: await findRelease(home.paths, channel, head.head.manifest.version) }
}

/** What those outside get: what the head says, else the newest release before that was not withdrawn. */
async function fallbackOf({ home, channel, head, release }: Offered): Promise<StoredRelease> {
  if (head.head.fallback !== undefined)
    return await signRelease(home, await findRelease(home.paths, channel, head.head.fallback.version))
  const withdrawn = new Set(head.head.revoked.map(({ sha256 }) => sha256))
  const before = (await readReleases(home.paths, channel))
    .filter(
      ({ manifest, sha256, signatures }) =>
        (manifest.sequence ?? 0) < (release.manifest.sequence ?? 0) &&
        manifest.epoch === release.manifest.epoch &&
        signatures !== undefined &&
        !withdrawn.has(sha256),
    )
    .at(-1)
  if (before === undefined)
    throw new CliError('CLI_USAGE', `There is no release before ${release.manifest.version} that others could get`)
  // A release from before a turn of the release key gains the signature that counts now.
  return await signRelease(home, before)
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

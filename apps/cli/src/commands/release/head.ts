import { hexEncode, systemRandom } from '@keyturn/primitives'
import { ManifestError, verifyManifestSignatures } from '@keyturn/manifest'
import type { Rollout } from '@keyturn/manifest'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { collect, wholeNumber } from '../../flags/values.ts'
import { formatTable } from '../../output.ts'
import type { HomeSession } from '@keyturn/publisher'
import {
  findRelease,
  issueHead,
  readStoredHead,
  refuseForeignArchives,
  rolesInForce,
  signRelease,
} from '@keyturn/publisher/release'
import type { StoredHead, StoredRelease } from '@keyturn/publisher/release'
import { openToRelease } from './open.ts'
import { channelOf } from '../../flags/channel.ts'
import type { ChannelOption } from '../../flags/channel.ts'

interface HeadOptions extends ChannelOption {
  readonly days: string
  readonly percent?: string
  readonly fallback?: string
  readonly mirror?: readonly string[]
  readonly key?: readonly string[]
  readonly atLeast?: string
}

/** Registers `keyturn release head`. */
export function registerHead(release: Command, cli: Cli): void {
  const head = release
    .command('head')
    .description('sign the next head of a channel: what launchers are offered from now on')
    .argument('[version]', 'the release it offers (default: the newest)')
    .option('--channel <name>', 'the channel (default: that of the home)')
    .option('--days <n>', 'days it is valid, at most 7', '7')
    .option('--percent <n>', 'offer it to this share of installs only; the others get --fallback')
    .option('--fallback <version>', 'what the others get (default: the release before)')
    .option('--mirror <url>', 'a place that serves the same tree; may be given several times', collect)
    .option('--key <alias>', 'sign with this key; may be given several times (default: the head key in force)', collect)
    .option(
      '--at-least <sequence>',
      'lowest sequence it may get, when a head signer beside the server went on counting',
    )
  cli.define<HeadOptions>(head, {
    example: ['keyturn release head', 'keyturn release head 2026.11.21-2 --percent 10'],
    run: (context, options, [version]) => runHead(context, options, version),
  })
}

/** The salt stays while one rollout runs, so that raising the share never drops anyone. */
function rolloutOf(percent: number, version: string, last: StoredHead | undefined): Rollout {
  const running = last?.head.rollout
  const goesOn = running !== undefined && last?.head.manifest.version === version
  return { percent, salt: goesOn ? running.salt : hexEncode(systemRandom(16)), paused: false }
}

/** A release that was signed before a turn of the release key is signed again first: launchers would refuse it. */
async function requireSignatures(home: HomeSession, { manifest, bytes, signatures }: StoredRelease): Promise<void> {
  if (signatures === undefined) return
  const { document } = await rolesInForce(home.paths, home.description.identity.prefix)
  try {
    verifyManifestSignatures(bytes, signatures, { ...document.roles.release, revokedKeys: document.revokedKeys })
  } catch (cause) {
    if (!(cause instanceof ManifestError)) throw cause
    throw new CliError(
      'CLI_TURN_UNREADY',
      `Release ${manifest.version} is not signed by the release keys in force (${cause.code})`,
      {
        cause,
        hint: `Run "keyturn release sign ${manifest.version}"`,
      },
    )
  }
}

async function runHead(context: Context, options: HeadOptions, version: string | undefined): Promise<CommandResult> {
  const home = await openToRelease(context, { write: true })
  const channel = channelOf(options, home.description)
  const release = await findRelease(home.paths, channel, version)
  await refuseForeignArchives(home, release)
  await requireSignatures(home, release)
  const last = await readStoredHead(home.paths, channel)
  const percent = options.percent === undefined ? undefined : wholeNumber(options.percent, '--percent', 0, 100)
  const fallbackVersion = options.fallback ?? (percent === undefined ? undefined : release.manifest.previous)
  if (percent !== undefined && fallbackVersion === undefined) {
    throw new CliError('CLI_USAGE', 'A rollout needs a release for the others', { hint: 'Give --fallback VERSION' })
  }
  const { head } = await issueHead(home, release, {
    nowMs: context.clock(),
    days: wholeNumber(options.days, '--days', 1, 7),
    ...(fallbackVersion === undefined
      ? {}
      : { fallback: await signRelease(home, await findRelease(home.paths, channel, fallbackVersion)) }),
    ...(percent === undefined ? {} : { rollout: rolloutOf(percent, release.manifest.version, last) }),
    ...(options.mirror === undefined ? {} : { mirrors: options.mirror.map((url) => ({ url, weight: 1 })) }),
    ...(options.key === undefined ? {} : { aliases: options.key }),
    ...(options.atLeast === undefined
      ? {}
      : { atLeastSequence: wholeNumber(options.atLeast, '--at-least', 1, Number.MAX_SAFE_INTEGER) }),
  })
  return {
    data: {
      channel,
      sequence: head.sequence,
      version: head.manifest.version,
      expires_at: head.expiresAt,
      roles_version: head.rolesVersion,
      fallback: head.fallback?.version,
      percent: head.rollout?.percent,
    },
    text: formatTable([
      ['head', `${channel}, sequence ${head.sequence}, valid until ${head.expiresAt}`],
      [
        'offers',
        `${head.manifest.version}${percent === undefined ? '' : ` to ${percent} %, ${head.fallback?.version ?? ''} to the others`}`,
      ],
    ]),
  }
}

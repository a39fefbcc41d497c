import { ManifestError, verifyManifestSignatures } from '@keyturn/manifest'
import type { Head, Mirror } from '@keyturn/manifest'
import { hexEncode, KeyturnError, systemRandom } from '@keyturn/primitives'
import type { HomeSession } from '@keyturn/publisher'
import { offerRelease, putOffer } from '@keyturn/publisher/offers'
import {
  findRelease,
  readKnownHeads,
  readReleases,
  refuseSealed,
  rolesInForce,
  sealedKeyOf,
} from '@keyturn/publisher/records'
import { checkEpoch, openKnownClient, pinOf, refuseForeignArchives, requireSigned } from '@keyturn/publisher/release'
import type { StoredRelease } from '@keyturn/publisher/records'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { channelOf } from '../../flags/channel.ts'
import type { ChannelOption } from '../../flags/channel.ts'
import { collect, wholeNumber } from '../../flags/values.ts'
import { formatTable } from '../../output.ts'
import { signedPin, withOffer } from './change-offer.ts'
import type { OfferOptions } from './change-offer.ts'
import { openToRelease } from '@keyturn/publisher/ship'

interface OfferVersionOptions extends ChannelOption, OfferOptions {
  readonly days?: string | undefined
  readonly percent?: string | undefined
  readonly resume?: boolean | undefined
  readonly fallback?: string | undefined
  readonly mirror?: readonly string[] | undefined
  readonly lanMirror?: readonly string[] | undefined
  readonly key?: readonly string[] | undefined
  readonly atLeast?: string | undefined
}

/** Registers `keyturn release offer`, which was `keyturn release head` before. */
export function registerOffer(release: Command, cli: Cli): void {
  const offer = withOffer(
    release
      .command('offer')
      .alias('head')
      .description('sign a head that offers a release on a channel; "release publish" then shows it to launchers')
      .argument('[version]', 'the release (default: the newest signed one, after a question)')
      .option('--channel <name>', 'the channel (default: that of the home)')
      .option('--days <n>', 'days the head is valid (default, and at most: what the role document allows, 7 or more)')
      .option('--percent <n>', 'offer it to this share of installs, the others get --fallback; 100 ends a rollout')
      .option('--resume', 'end a halt of the channel')
      .option('--fallback <version>', 'what the others get (default: what everybody may have now)')
      .option('--mirror <url>', 'a place that serves the same tree; may be given several times', collect)
      .option(
        '--lan-mirror <url>',
        'such a place in the networks of players, tried first where it answers; may be given several times',
        collect,
      )
      .option(
        '--key <alias>',
        'sign with this key; may be given several times (default: the head key in force)',
        collect,
      )
      .option('--at-least <sequence>', 'lowest sequence the head may get'),
  )
  cli.define<OfferVersionOptions>(offer, {
    example: ['keyturn release offer 2026.11.21-2', 'keyturn release offer 1.4.2 --percent 10'],
    run: (context, options, [version]) => runOffer(context, options, version),
  })
}

/** The newest signed release, which a person agreed to by name: whatever was signed last may not be meant to go out. */
async function chosenRelease(
  context: Context,
  home: HomeSession,
  channel: string,
  version: string | undefined,
): Promise<StoredRelease> {
  if (version !== undefined) return await findRelease(home.paths, channel, version)
  const newest = (await readReleases(home.paths, channel)).findLast(
    ({ manifest, signatures }) => signatures !== undefined && sealedKeyOf(home.description, manifest) === undefined,
  )
  if (newest === undefined) {
    throw new CliError('CLI_TURN_UNREADY', `No release on channel "${channel}" is signed yet`, {
      hint: 'Run "keyturn release sign"',
    })
  }
  await context.ask.confirm(`Offer release ${newest.manifest.version} on channel "${channel}"?`)
  return newest
}

/** A release that was signed before a rotation of the release key is signed again first: launchers would refuse it. */
async function requireSignatures(home: HomeSession, release: StoredRelease): Promise<void> {
  const { manifest, bytes } = release
  const signatures = requireSigned(release)
  const { document } = await rolesInForce(home.paths, home.description.identity.prefix)
  checkEpoch(manifest.version, manifest.epoch ?? 0, document)
  try {
    verifyManifestSignatures(bytes, signatures, { ...document.roles.release, revokedKeys: document.revokedKeys })
  } catch (cause) {
    if (!(cause instanceof ManifestError)) throw cause
    throw new CliError(
      'CLI_TURN_UNREADY',
      `Release ${manifest.version} is not signed by the release keys in force (${cause.code})`,
      {
        cause,
        hint:
          cause.code === 'MAN_THRESHOLD'
            ? 'Others have to sign too: "keyturn release cosign FOLDER" where their key is, then ' +
              `"keyturn release sign ${manifest.version} --add-signatures FILE" here`
            : `Run "keyturn release sign ${manifest.version}"`,
      },
    )
  }
}

/** What the channel offers now. A server that does not answer only shows less: it refuses a head that it overtook. */
async function baseOf(
  context: Context,
  home: HomeSession,
  channel: string,
  options: OfferOptions,
): Promise<Head | undefined> {
  const client = await openKnownClient(options, home)
  try {
    const { base, refused } = await readKnownHeads(home, channel, client)
    if (refused !== undefined) context.warn(`The head that the server shows does not count: ${refused}`)
    return base?.head
  } catch (error) {
    if (client === undefined || !(error instanceof KeyturnError) || error.kind !== 'unavailable') throw error
    context.warn(`${error.message}: the offer follows the head that this home published last`)
    return (await readKnownHeads(home, channel)).base?.head
  }
}

async function runOffer(
  context: Context,
  options: OfferVersionOptions,
  version: string | undefined,
): Promise<CommandResult> {
  const home = await openToRelease(context, { write: true })
  const channel = channelOf(options, home.description)
  const { days, percent, fallback, key, atLeast, resume } = options
  const share = percent === undefined ? undefined : wholeNumber(percent, '--percent', 0, 100)
  const release = await chosenRelease(context, home, channel, version)
  refuseSealed(home.description, release)
  await refuseForeignArchives(home, release)
  await requireSignatures(home, release)
  const base = await baseOf(context, home, channel, options)
  const offer = offerRelease(base, pinOf(release), {
    percent: share,
    resume,
    fallback: fallback === undefined ? undefined : await signedPin(home, channel, fallback),
    mirrors: mirrorsOf(base?.mirrors ?? [], options),
    salt: hexEncode(systemRandom(16)),
  })
  const { head } = await putOffer(home, channel, {
    offer,
    base,
    nowMs: context.clock(),
    signal: context.signal,
    days: days === undefined ? undefined : wholeNumber(days, '--days', 1, 30),
    aliases: key,
    atLeastSequence: atLeast === undefined ? undefined : wholeNumber(atLeast, '--at-least', 1, Number.MAX_SAFE_INTEGER),
  })
  return { data: { channel, ...headData(head.head) }, text: headText(head.head) }
}

/** The mirrors that were named, each kind in place of those of its kind; `undefined` where none was: all stay. */
function mirrorsOf(
  before: readonly Mirror[],
  { mirror, lanMirror }: Pick<OfferVersionOptions, 'mirror' | 'lanMirror'>,
): Mirror[] | undefined {
  if (mirror === undefined && lanMirror === undefined) return undefined
  const isLan = ({ scope }: Mirror): boolean => scope === 'lan'
  const wide = mirror?.map((url) => ({ url, weight: 1 })) ?? before.filter((known) => !isLan(known))
  // Weight 0: launchers that know no scope try it after the other mirrors.
  const lan = lanMirror?.map((url) => ({ url, weight: 0, scope: 'lan' as const })) ?? before.filter(isLan)
  return [...wide, ...lan]
}

/** What a head says, for programs. */
export function headData(head: Head): Record<string, string | number | boolean | undefined> {
  return {
    sequence: head.sequence,
    version: head.manifest.version,
    expires_at: head.expiresAt,
    roles_version: head.rolesVersion,
    fallback: head.fallback?.version,
    percent: head.rollout?.percent,
    scheduled: head.preload?.version,
    scheduled_at: head.preload?.at,
    ...(head.rollout?.paused === true ? { paused: true } : {}),
  }
}

/** What a head says, for people. */
export function headText(head: Head): string {
  const { rollout, manifest, fallback } = head
  const others = fallback === undefined ? '' : `, ${fallback.version} to the others`
  const offers =
    rollout === undefined
      ? manifest.version
      : rollout.paused
        ? `nobody new ${manifest.version} (halted)${others}`
        : `${manifest.version} to ${rollout.percent} %${others}`
  return formatTable([
    ['head', `${head.channel}, sequence ${head.sequence}, valid until ${head.expiresAt}`],
    ['offers', offers],
    ...(head.preload === undefined ? [] : [['scheduled', `${head.preload.version}, opens at ${head.preload.at}`]]),
  ])
}

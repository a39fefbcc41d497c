import type { ManifestPin } from '@keyturn/manifest'
import { hexEncode, KeyturnError, systemRandom } from '@keyturn/primitives'
import type { ReleaseServerClient } from '@keyturn/release-client'
import { PublisherError } from '@keyturn/publisher'
import type { HomeSession } from '@keyturn/publisher'
import { catchUp, findOrFetchRelease, putOffer } from '@keyturn/publisher/offers'
import { findRelease, readReleases, requireBase } from '@keyturn/publisher/records'
import { openKnownClient, pinOf, signRelease } from '@keyturn/publisher/release'
import type { PutOffer } from '@keyturn/publisher/offers'
import type { BaseHead, Offer, StoredRelease } from '@keyturn/publisher/records'
import type { ServerOptions } from '@keyturn/publisher/release'
import type { Command } from 'commander'
import type { Context } from '../../command.ts'
import { channelOf } from '../../flags/channel.ts'
import type { ChannelOption } from '../../flags/channel.ts'
import { withServer } from '../../flags/server.ts'
import { warnOfKey } from './key-problem.ts'
import { openToRelease } from '@keyturn/publisher/ship'

/** Options of commands that change what a channel offers. */
export interface OfferOptions extends ServerOptions {
  /** `--local`: sign, and publish nothing now. */
  readonly local?: boolean | undefined
}

/** Adds the server's flags and `--local`. */
export function withOffer(command: Command): Command {
  return withServer(command).option('--local', 'sign the new head, ask no server and publish nothing now')
}

/** Says whether launchers see it already. */
export function publishedText({ report }: Pick<PutOffer, 'report'>): string {
  return report === undefined ? 'not published yet: "keyturn release publish"' : 'published'
}

/**
 * A release of this home by its version, as a head pins it. One that was signed before its release key was rotated
 * gains the signature that counts now.
 */
export async function signedPin(home: HomeSession, channel: string, version: string): Promise<ManifestPin> {
  return pinOf(await signRelease(home, await findRelease(home.paths, channel, version)))
}

/** Releases looked at, one before the other, for one that was not withdrawn. */
const MAX_STEPS_BACK = 100

/**
 * What those without the release on offer get: what the head names, else the newest one before it that was not
 * withdrawn.
 */
export async function fallbackOf({
  home,
  client,
  base,
}: Pick<CurrentOffer, 'home' | 'client' | 'base'>): Promise<ManifestPin> {
  const { channel, fallback, manifest, epoch, revoked } = base.head
  if (fallback !== undefined) return fallback
  const withdrawn = new Set(revoked.map(({ sha256 }) => sha256))
  const isRight = (release: StoredRelease): boolean =>
    (release.manifest.sequence ?? 0) < manifest.sequence &&
    release.manifest.epoch === epoch &&
    release.signatures !== undefined &&
    !withdrawn.has(release.sha256)
  const all = await readReleases(home.paths, channel)
  // Each release names the one before it, which another machine may have made.
  const top = all.find(({ sha256 }) => sha256 === manifest.sha256)
  let earlier = beforeOf(top)
  for (let step = 0; client !== undefined && earlier !== undefined && step < MAX_STEPS_BACK; step += 1) {
    const release = await findOrFetchRelease(home, channel, earlier, client).catch(notThere)
    if (release === undefined) break
    if (isRight(release)) return pinOf(await signRelease(home, release))
    earlier = beforeOf(release)
  }
  const before = findBefore(all, top, isRight)
  if (before !== undefined) return pinOf(await signRelease(home, before))
  throw new PublisherError('REL_NO_FALLBACK', `There is no release before ${manifest.version} that others could get`, {
    hint: 'Prepare, sign and offer a release that is right: launchers take the newest',
  })
}

/**
 * The version before a release. A step back comes after what it brought back: what it stepped over was given up, and
 * nobody is to get it again.
 */
function beforeOf(release: StoredRelease | undefined): string | undefined {
  return release?.manifest.rollbackOf ?? release?.manifest.previous
}

/** The release before one, of those at hand; where the one that it names is not, the newest that is older. */
function olderThan(all: readonly StoredRelease[], release: StoredRelease): StoredRelease | undefined {
  const older = all.filter(({ manifest }) => (manifest.sequence ?? 0) < (release.manifest.sequence ?? 0))
  return older.find(({ manifest }) => manifest.version === beforeOf(release)) ?? older.at(-1)
}

/** The newest release at hand before one, as far back as needed. */
function findBefore(
  all: readonly StoredRelease[],
  top: StoredRelease | undefined,
  isRight: (release: StoredRelease) => boolean,
): StoredRelease | undefined {
  if (top === undefined) return all.findLast(isRight)
  let found = olderThan(all, top)
  while (found !== undefined && !isRight(found)) found = olderThan(all, found)
  return found
}

/** Neither here nor there, or signed by keys of before: then the home's own releases have to do. */
function notThere(error: unknown): undefined {
  if (error instanceof KeyturnError && error.kind !== 'bug') return undefined
  throw error
}

/** An open channel and what it offers now. */
export interface CurrentOffer {
  readonly home: HomeSession
  readonly channel: string
  readonly client: ReleaseServerClient | undefined
  readonly base: BaseHead
}

/** Opens the home of a command that changes what a channel offers. */
export async function currentOffer(context: Context, options: ChannelOption & OfferOptions): Promise<CurrentOffer> {
  const home = await openToRelease(context, { write: true })
  const channel = channelOf(options, home.description)
  const client = await openKnownClient(options, home)
  if (client !== undefined) await catchUp(home, channel, client)
  return { home, channel, client, base: await requireBase(home, channel, client) }
}

/** Signs the changed offer and, unless it is to wait, publishes it. */
export async function put(
  context: Context,
  { home, channel, client, base }: CurrentOffer,
  offer: Offer,
): Promise<PutOffer> {
  const done = await putOffer(home, channel, {
    offer,
    base: base.head,
    client,
    nowMs: context.clock(),
    signal: context.signal,
  })
  warnOfKey(context, channel, done.report)
  return done
}

/** The salt of a rollout that begins now. */
export const freshSalt = (): string => hexEncode(systemRandom(16))

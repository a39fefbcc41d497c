import type { ManifestPin } from '@keyturn/manifest'
import { hexEncode, systemRandom } from '@keyturn/primitives'
import type { ReleaseServerClient } from '@keyturn/release-client'
import { PublisherError } from '@keyturn/publisher'
import type { HomeSession } from '@keyturn/publisher'
import {
  findRelease,
  openKnownClient,
  pinOf,
  putOffer,
  readReleases,
  requireBase,
  signRelease,
} from '@keyturn/publisher/release'
import type { BaseHead, Offer, PutOffer, ServerOptions } from '@keyturn/publisher/release'
import type { Command } from 'commander'
import type { Context } from '../../command.ts'
import { channelOf } from '../../flags/channel.ts'
import type { ChannelOption } from '../../flags/channel.ts'
import { withServer } from '../../flags/server.ts'
import { openToRelease } from '@keyturn/publisher/ship'

/** Options of commands that change what a channel offers. */
export interface OfferOptions extends ServerOptions {
  /** `--local`: sign, and publish nothing now. */
  readonly local?: boolean
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

/**
 * What those without the release on offer get: what the head names, else the newest one before it that was not
 * withdrawn.
 */
export async function fallbackOf(home: HomeSession, { head }: BaseHead): Promise<ManifestPin> {
  const { channel, fallback, manifest, epoch, revoked } = head
  if (fallback !== undefined) return fallback
  const withdrawn = new Set(revoked.map(({ sha256 }) => sha256))
  const before = (await readReleases(home.paths, channel))
    .filter(
      (release) =>
        (release.manifest.sequence ?? 0) < manifest.sequence &&
        release.manifest.epoch === epoch &&
        release.signatures !== undefined &&
        !withdrawn.has(release.sha256),
    )
    .at(-1)
  if (before !== undefined) return pinOf(await signRelease(home, before))
  throw new PublisherError('REL_NO_FALLBACK', `There is no release before ${manifest.version} that others could get`, {
    hint: 'Prepare, sign and offer a release that is right: launchers take the newest',
  })
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
  return { home, channel, client, base: await requireBase(home, channel, client) }
}

/** Signs the changed offer and, unless it is to wait, publishes it. */
export async function put(
  context: Context,
  { home, channel, client, base }: CurrentOffer,
  offer: Offer,
): Promise<PutOffer> {
  return await putOffer(home, channel, {
    offer,
    base: base.head,
    client,
    nowMs: context.clock(),
    signal: context.signal,
  })
}

/** The salt of a rollout that begins now. */
export const freshSalt = (): string => hexEncode(systemRandom(16))

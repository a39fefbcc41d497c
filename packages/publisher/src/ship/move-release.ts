import { hexEncode, systemRandom } from '@keyturn/primitives'
import type { Head, ManifestPin } from '@keyturn/manifest'
import { PublisherError } from '../errors.ts'
import { checkChannelName } from '../names.ts'
import { catchUp, findOrFetchRelease } from '../offers/catch-up.ts'
import { checkMayReplace, offerRelease } from '../offers/offer.ts'
import type { PublishReport } from '../release/publish-release.ts'
import { putOffer } from '../offers/put-offer.ts'
import { reissueRelease } from '../release/reissue.ts'
import { openKnownClient } from '../server/server.ts'
import type { ServerOptions } from '../server/server.ts'
import { pinOf } from '../release/sign-release.ts'
import { newestRelease } from '../records/sealed.ts'
import type { StoredRelease } from '../records/store.ts'
import { readKnownHeads } from '../records/verified-head.ts'
import type { HomeSession } from '../home-session.ts'
import type { ReleaseServerClient } from '@keyturn/release-client'
import type { PublisherHost } from '../session.ts'
import { openToRelease } from './open-to-release.ts'

const SALT_BYTES = 16

/** Which files are offered again, and where. */
export interface MovePlan extends ServerOptions {
  /** Channel of the release with the files; default: that of the home. */
  readonly from?: string | undefined
  /** Its version; default: the newest. */
  readonly version?: string | undefined
  /** Channel that gets the files; default: that of the home. */
  readonly to?: string | undefined
  /** A step back on one channel: it goes to everyone, and ends a halt or a rollout. */
  readonly rollback: boolean
  /** Share of installs that get it; 100 ends a rollout. Not for a step back. */
  readonly percent?: number | undefined
  /** End a halt of the channel. Not for a step back. */
  readonly resume?: boolean | undefined
  /** Sign only: ask no server and publish nothing now. */
  readonly local?: boolean | undefined
  /** Asks before a step back, which reaches everyone; rejects to stop. */
  readonly confirm?: ((question: string) => Promise<void>) | undefined
}

/** What is offered again. */
export interface MovedRelease {
  /** Version whose files they are. */
  readonly from: string
  readonly channel: string
  /** The new release; undefined in a dry run. */
  readonly made: MadeOffer | undefined
}

/** A release that was made and offered. */
export interface MadeOffer {
  readonly version: string
  readonly sequence: number | undefined
  readonly headSequence: number
  /** Share of installs; undefined when it goes to everyone. */
  readonly percent: number | undefined
  /** What the server got; undefined while the head waits. */
  readonly report: PublishReport | undefined
}

/** Without a version, the newest release that is not scheduled. */
async function sourceOf(
  home: HomeSession,
  channel: string,
  version: string | undefined,
  client: ReleaseServerClient | undefined,
): Promise<StoredRelease> {
  const newest = version === undefined ? await newestRelease(home, channel) : undefined
  return newest ?? (await findOrFetchRelease(home, channel, version, client))
}

/** Anyone who goes back from a halted release means another one: its own files would reach everyone. */
function refuseHaltedFiles({ channel, manifest, rollout, fallback }: Head, pin: ManifestPin): void {
  if (rollout?.paused !== true || manifest.sha256 !== pin.sha256) return
  const other = fallback === undefined ? 'VERSION' : fallback.version
  throw new PublisherError('REL_HALTED', `Release ${pin.version} is the one that is halted on channel "${channel}"`, {
    hint:
      `To give everyone the files from before it: "keyturn release rollback ${other}". ` +
      'To offer it again after all: "keyturn release rollout --resume"',
  })
}

/**
 * Makes, signs and offers a release with the files of another one: on another channel (promotion), or again on the same
 * one (rollback).
 *
 * @param host - The program; with `dryRun` nothing is made.
 * @param plan - Which release, and where to.
 * @throws {@link PublisherError} `REL_HALTED`, `REL_ROLLING_OUT`, `REL_WITHDRAWN`, before anything is signed; those of
 *   `openToRelease`, `findRelease` and `publishHead`.
 */
export async function moveRelease(host: PublisherHost, plan: MovePlan): Promise<MovedRelease> {
  const home = await openToRelease(host, { write: !host.dryRun })
  const origin = checkChannelName(plan.from ?? home.description.channel)
  const client = host.dryRun ? undefined : await openKnownClient(plan, home)
  const source = await sourceOf(home, origin, plan.version, client)
  const channel = checkChannelName(plan.to ?? home.description.channel)
  const from = source.manifest.version
  if (host.dryRun) return { from, channel, made: undefined }
  const { base } = client === undefined ? await readKnownHeads(home, channel) : await catchUp(home, channel, client)
  // Looked at before anything is made and signed. Going back is the way out of a halt and of a rollout.
  const change = plan.rollback ? { percent: 100, resume: true } : { percent: plan.percent, resume: plan.resume }
  // A withdrawn release may be right on another channel; going back to it on its own never is.
  if (base !== undefined) checkMayReplace(base.head, pinOf(source), change)
  if (plan.rollback && base !== undefined) {
    refuseHaltedFiles(base.head, pinOf(source))
    const instead = base.head.manifest.version
    await plan.confirm?.(`Give everyone on "${channel}" the files of ${from}, instead of ${instead}?`)
  }
  const release = await reissueRelease(host, home, source, { rollback: plan.rollback, channel, client })
  const salt = hexEncode(systemRandom(SALT_BYTES))
  const offer = offerRelease(base?.head, pinOf(release), { ...change, salt })
  const { nowMs, signal } = { nowMs: host.clock(), signal: host.signal }
  const { head, report } = await putOffer(home, channel, { offer, base: base?.head, client, nowMs, signal })
  const { version, sequence } = release.manifest
  return {
    from,
    channel,
    made: { version, sequence, headSequence: head.head.sequence, percent: offer.rollout?.percent, report },
  }
}

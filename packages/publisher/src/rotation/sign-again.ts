import type { Head } from '@keyturn/manifest'
import type { ReleaseServerClient } from '@keyturn/release-client'
import type { HomeSession } from '../home-session.ts'
import { offeredToAll } from '../offers/offer.ts'
import { readPublishedChannels, readPublishedHead, readStoredHead } from '../records/heads.ts'
import { findRelease, readReleases, rolesInForce } from '../records/store.ts'
import type { StoredRelease } from '../records/store.ts'
import { publishRotation, publishTrust } from '../release/publish-release.ts'
import { reissueRelease } from '../release/reissue.ts'
import { issueHead, signRelease } from '../release/sign-release.ts'
import type { IdentityTerms } from './identity-state.ts'

/**
 * Signs with the keys in force what players are offered: a new head and the same release on the channels of the
 * rotation, and the release alone on any other, which has to count under the new log all the same.
 */
export async function signAgain(
  home: HomeSession,
  { channels }: IdentityTerms,
  {
    nowMs,
    signal = new AbortController().signal,
  }: { readonly nowMs: number; readonly signal?: AbortSignal | undefined },
): Promise<undefined> {
  const { document } = await rolesInForce(home.paths, home.description.identity.prefix)
  for (const channel of channels) {
    const last = await readStoredHead(home.paths, channel)
    if (last === undefined) continue
    if (last.head.epoch !== document.epoch) {
      await offerInEpoch(home, last.head, document.epoch, { clock: () => nowMs, signal })
      continue
    }
    const current = await findRelease(home.paths, channel, last.head.manifest.version)
    if (hasEnded(current, nowMs)) continue
    const release = await signRelease(home, current)
    const fallback =
      last.head.fallback === undefined
        ? undefined
        : await signRelease(home, await findRelease(home.paths, channel, last.head.fallback.version))
    const { preload } = last.head
    if (preload !== undefined) await signRelease(home, await findRelease(home.paths, channel, preload.version))
    await issueHead(home, release, { nowMs, fallback, rollout: last.head.rollout })
  }
  for (const channel of await readPublishedChannels(home.paths))
    if (!channels.includes(channel)) await signStanding(home, channel, nowMs)
  return undefined
}

/** A channel that gets no new head: its release has to count under the new log all the same. */
async function signStanding(home: HomeSession, channel: string, nowMs: number): Promise<void> {
  const standing = await readPublishedHead(home.paths, channel)
  const pins = [standing?.head.manifest.sha256, standing?.head.fallback?.sha256]
  for (const release of await readReleases(home.paths, channel))
    if (pins.includes(release.sha256) && !hasEnded(release, nowMs)) await signRelease(home, release)
}

/**
 * Whether the time is over in which a release may be installed. No signature brings it back, so a rotation offers it no
 * more: its players keep it, and the next release reaches them.
 */
function hasEnded({ manifest }: StoredRelease, nowMs: number): boolean {
  return manifest.expiresAt !== undefined && Date.parse(manifest.expiresAt) <= nowMs
}

/**
 * Launchers refuse a release of an earlier epoch: the files that everybody may have now get a manifest in the new one,
 * and go to everyone. A release that a thief may have rolled out is not taken along.
 */
async function offerInEpoch(
  home: HomeSession,
  before: Head,
  epoch: number,
  host: Parameters<typeof reissueRelease>[0],
): Promise<void> {
  const { channel } = before
  const { version } = offeredToAll(before)
  const made = (await readReleases(home.paths, channel)).find(
    ({ manifest }) => manifest.epoch === epoch && manifest.rollbackOf === version,
  )
  const release =
    made ??
    (await reissueRelease(host, home, await findRelease(home.paths, channel, version), { channel, rollback: true }))
  await issueHead(home, await signRelease(home, release), { nowMs: host.clock() })
}

/** Publishes what was signed again, log and role documents with the first head. */
export async function publishSigned(
  home: HomeSession,
  client: ReleaseServerClient,
  { channels }: IdentityTerms,
  nowMs: number,
): Promise<undefined> {
  let isPublished = false
  for (const channel of channels) {
    const head = await readStoredHead(home.paths, channel)
    if (head === undefined) continue
    const release = await findRelease(home.paths, channel, head.head.manifest.version)
    if (hasEnded(release, nowMs)) continue
    await publishRotation(home, client, release, head)
    isPublished = true
  }
  // Nothing is offered that can be installed: log and role documents alone.
  if (!isPublished) await publishTrust(home, client)
  return undefined
}

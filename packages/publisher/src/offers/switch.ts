import type { Head } from '@keyturn/manifest'
import type { HomeSession } from '../home-session.ts'
import type { Offer } from '../records/heads.ts'
import { adoptOffered } from '../records/sealed.ts'
import { pinOf, signRelease } from '../release/sign-release.ts'
import { readReleases } from '../records/store.ts'

/** What becomes of a scheduled release when an offer is renewed. */
export type DueSchedule =
  /** Nothing is scheduled, or its time has not come. */
  | { readonly state: 'none' }
  /** It is offered now. */
  | { readonly state: 'switch'; readonly offer: Offer }
  /** Its time has come, and the channel is halted: a person has to say that it goes on. */
  | { readonly state: 'halted'; readonly version: string }
  /** Its time has come, and its files and key are in another home. */
  | { readonly state: 'elsewhere'; readonly version: string }

/**
 * Says whether the release that a head pins as its preload is to be offered now. The release goes to everyone: a
 * rollout that was running ends with it.
 *
 * @param home - Open home, locked.
 * @param base - The newest verified head.
 * @param nowMs - Milliseconds since 1970.
 */
export async function dueSchedule(home: HomeSession, base: Head, nowMs: number): Promise<DueSchedule> {
  const { preload, rollout, revoked, mirrors, channel } = base
  if (preload === undefined || nowMs < Date.parse(preload.at)) return { state: 'none' }
  const { version } = preload
  if (rollout?.paused === true) return { state: 'halted', version }
  const release = (await readReleases(home.paths, channel)).find(({ sha256 }) => sha256 === preload.sha256)
  if (release === undefined) return { state: 'elsewhere', version }
  return { state: 'switch', offer: { manifest: pinOf(await signRelease(home, release)), revoked, mirrors } }
}

/** Takes the key of a release that is offered from now on among the keys of the home, so that it can be given out. */
export async function adoptSwitched(home: HomeSession, base: Head, { manifest }: Offer): Promise<void> {
  await adoptOffered(home, { channel: base.channel, manifest })
}

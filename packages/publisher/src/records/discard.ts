import { PublisherError } from '../errors.ts'
import type { SealedKey } from '../home.ts'
import type { HomeSession } from '../home-session.ts'
import { placeInside, removeInside } from '../inside.ts'
import { readPublishedHead, readWaitingHead } from './heads.ts'
import { findRelease, readReleases } from './store.ts'
import type { StoredRelease } from './store.ts'

/**
 * Removes a draft or a signed release that was never offered, with the release tree that `ship` made for it.
 *
 * @param home - Open home, locked.
 * @throws {@link PublisherError} `REL_OFFERED` when a head names it, or a later release was made after it.
 */
export async function discardRelease(home: HomeSession, channel: string, version: string): Promise<StoredRelease> {
  const release = await findRelease(home.paths, channel, version)
  const heads = [await readWaitingHead(home.paths, channel), await readPublishedHead(home.paths, channel)]
  for (const stored of heads) {
    const { manifest, fallback, preload } = stored?.head ?? {}
    if (![manifest, fallback, preload].some((pin) => pin?.sha256 === release.sha256)) continue
    throw new PublisherError(
      'REL_OFFERED',
      `Release ${version} on channel "${channel}" is named by head ${stored?.head.sequence ?? 0}`,
      {
        hint:
          'Launchers may have it. Withdraw it with "keyturn release halt --withdraw"; a head that was never ' +
          'published goes with "keyturn release drop-head"',
      },
    )
  }
  const published = heads[1]?.head.manifest.sequence ?? 0
  if ((release.manifest.sequence ?? 0) <= published)
    throw new PublisherError(
      'REL_OFFERED',
      `Release ${version} on channel "${channel}" is older than what is offered`,
      {
        hint: 'Players may have it; it stays in the history',
      },
    )
  const followers = (await readReleases(home.paths, channel)).filter(
    ({ manifest }) => manifest.previous === version && manifest.version !== version,
  )
  if (followers.length > 0)
    throw new PublisherError(
      'REL_OFFERED',
      `Release ${followers[0]?.manifest.version ?? ''} was made after ${version}`,
      {
        hint: 'Discard the newer one first',
      },
    )
  await removeInside(home.paths.releases, channel, version)
  if (release.tree === placeInside(home.paths.trees, channel, version))
    await removeInside(home.paths.trees, channel, version)
  await removeInside(home.paths.trees, channel, `.sealed-${version}`)
  // A schedule that nobody ever saw is over; the numbers of its key stay taken.
  const { sealedKeys = [] } = home.description
  const isIts = (key: SealedKey): boolean => key.channel === channel && key.version === version
  if (sealedKeys.some((key) => isIts(key) && key.at !== undefined))
    await home.update({ sealedKeys: sealedKeys.map((key) => (isIts(key) ? { ...key, at: undefined } : key)) })
  return release
}

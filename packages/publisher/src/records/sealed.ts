import type { Head, ReleaseManifest } from '@keyturn/manifest'
import { printable } from '@keyturn/primitives'
import { PublisherError } from '../errors.ts'
import type { HomeContentKey, HomeDescription, SealedKey } from '../home.ts'
import type { HomeSession } from '../home-session.ts'
import { readReleases } from './store.ts'
import type { StoredRelease } from './store.ts'

/** The key that a release is sealed under; undefined for any other release, and once it was offered. */
export function sealedKeyOf(
  { sealedKeys = [] }: HomeDescription,
  { contentKeys }: Pick<ReleaseManifest, 'contentKeys'>,
): SealedKey | undefined {
  return sealedKeys.find((sealed) => contentKeys.some(({ keyId }) => keyId === sealed.keyId))
}

/**
 * The newest release of a channel that is not scheduled: what the next one follows.
 *
 * @param home - Open home.
 * @param channel - The channel.
 * @param except - A version that does not count.
 */
export async function newestRelease(
  home: Pick<HomeSession, 'paths' | 'description'>,
  channel: string,
  except?: string,
): Promise<StoredRelease | undefined> {
  return (await readReleases(home.paths, channel)).findLast(
    ({ manifest }) => manifest.version !== except && sealedKeyOf(home.description, manifest) === undefined,
  )
}

/** The release that is scheduled on a channel, as this home knows it. */
export function scheduledOn({ sealedKeys = [] }: HomeDescription, channel: string): SealedKey | undefined {
  return sealedKeys.findLast((sealed) => sealed.channel === channel && sealed.at !== undefined)
}

/** A sealed key as the manifest of its release lists it. */
export function asContentKey({ keyId, verifierPub, commitment, created }: SealedKey): HomeContentKey {
  return { keyId, verifierPub, commitment, created, status: 'active' }
}

/**
 * Checks that a release is not a sealed one: offering it would hand its key out, whatever its date.
 *
 * @throws {@link PublisherError} `REL_SCHEDULED`.
 */
export function refuseSealed(description: HomeDescription, { manifest }: StoredRelease): void {
  const sealed = sealedKeyOf(description, manifest)
  if (sealed === undefined) return
  const { version, channel, at } = sealed
  throw new PublisherError(
    'REL_SCHEDULED',
    `Release ${printable(version)} on channel "${channel}" is sealed${at === undefined ? '' : ` until ${at}`}`,
    {
      details: { version, at },
      hint: `Run "keyturn release schedule ${printable(version)} --now", or --at to change its date`,
    },
  )
}

/**
 * Takes the key of a scheduled release among the keys of the home once a verified head offers the release: from then on
 * others are packed under it. A key that was made later, by a rotation meanwhile, stays in force.
 *
 * @param home - Open home, locked.
 * @param offered - What the head offers.
 * @returns Whether anything changed.
 */
export async function adoptOffered(
  home: HomeSession,
  { channel, manifest, fallback }: Pick<Head, 'channel' | 'manifest' | 'fallback'>,
): Promise<boolean> {
  const { sealedKeys = [] } = home.description
  if (!sealedKeys.some((sealed) => sealed.channel === channel)) return false
  const offered = (await readReleases(home.paths, channel)).filter(
    ({ sha256 }) => sha256 === manifest.sha256 || sha256 === fallback?.sha256,
  )
  const sealed = offered.flatMap((release) => sealedKeyOf(home.description, release.manifest) ?? [])[0]
  if (sealed === undefined) return false
  await home.update(adopted(home.description, sealed))
  return true
}

function adopted(
  { contentKeys, slots, sealedKeys = [] }: HomeDescription,
  sealed: SealedKey,
): Pick<HomeDescription, 'contentKeys' | 'slots' | 'sealedKeys'> {
  const all = [...contentKeys, asContentKey(sealed)].toSorted((a, b) => a.keyId - b.keyId)
  const newest = all.findLast(({ status }) => status === 'active')?.keyId
  return {
    contentKeys: all.map((key) =>
      key.status === 'active' && key.keyId !== newest ? { ...key, status: 'retired' } : key,
    ),
    slots: [...slots, sealed.slot].toSorted((a, b) => a - b),
    sealedKeys: sealedKeys.filter(({ keyId }) => keyId !== sealed.keyId),
  }
}

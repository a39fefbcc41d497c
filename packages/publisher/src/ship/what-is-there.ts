import type { Head } from '@keyturn/manifest'
import type { ReleaseServerClient } from '@keyturn/release-client'
import type { HomeSession } from '../home-session.ts'
import { readReleases } from '../records/store.ts'
import type { StoredRelease } from '../records/store.ts'

/** What no further release of a channel may be called. */
export interface TakenNames {
  readonly versions: readonly string[]
  /** The highest sequence that was ever published; 0 before the first. */
  readonly sequence: number
}

/** Newest sequence first: what a release of today could be called is among them. */
const LOOKED_AT = 100

/**
 * The names of a channel that are taken, here and on the server: a home for CI knows the offer and nothing else, and
 * another machine may have published. Drafts on the server are in nobody's way.
 *
 * @param home - Open home.
 * @param channel - The channel.
 * @param client - Its server.
 * @param offered - The head in force; what it schedules is no draft.
 */
export async function takenNames(
  { paths, description: { product } }: HomeSession,
  channel: string,
  client: ReleaseServerClient,
  offered: Head | undefined,
): Promise<TakenNames> {
  const own = (await readReleases(paths, channel)).map(({ manifest }) => manifest.version)
  const known = (await client.getProduct(product)) !== undefined
  const { items } = known ? await client.listReleases(product, { channel, limit: LOOKED_AT }) : { items: [] }
  const published = items.filter(({ state }) => state !== 'draft')
  const scheduled = offered?.preload === undefined ? [] : [offered.preload.version]
  return {
    versions: [...own, ...scheduled, ...published.map(({ version }) => version)],
    sequence: Math.max(0, ...published.map(({ sequence }) => sequence)),
  }
}

/** The release that a head offers to everybody, as far as this home has it. */
export async function releaseOf({ paths }: HomeSession, head: Head | undefined): Promise<StoredRelease | undefined> {
  const releases = head === undefined ? [] : await readReleases(paths, head.channel)
  return releases.find(({ sha256 }) => sha256 === head?.manifest.sha256)
}

import type { Head } from '@keyturn/manifest'
import { checkVersionName } from '@keyturn/manifest/publish'
import type { ReleaseServerClient } from '@keyturn/release-client'
import type { HomeSession } from '../home-session.ts'
import { checkKeysInForce, signedSequence } from '../offers/catch-up.ts'
import type { Project } from '../project/project.ts'
import { runtimeKeyFile } from '../records/runtime-key-file.ts'
import { newestRelease } from '../records/sealed.ts'
import { readReleases } from '../records/store.ts'
import type { StoredRelease } from '../records/store.ts'
import type { PublisherHost } from '../session.ts'
import { projectVersion } from './version-name.ts'

/** What no further release of a channel may be called. */
interface TakenNames {
  readonly versions: readonly string[]
  /** The sequence that is offered, or a higher one that a release on the server is signed with; 0 before the first. */
  readonly sequence: number
}

/** Newest sequence first: what a release of today could be called is among them. */
const LOOKED_AT = 100

/**
 * The names of a channel that are taken, here and on the server: a home for CI knows the offer and nothing else, and
 * another machine may have published. Drafts on the server are in nobody's way. Names are only avoided; a sequence
 * counts as far as it is signed.
 *
 * @param home - Open home.
 * @param channel - The channel.
 * @param client - Its server.
 * @param offered - The head in force; what it schedules counts too.
 */
async function takenNames(
  home: HomeSession,
  channel: string,
  client: ReleaseServerClient,
  offered: Head | undefined,
): Promise<TakenNames> {
  const { product } = home.description
  const own = (await readReleases(home.paths, channel)).map(({ manifest }) => manifest.version)
  const known = (await client.getProduct(product)) !== undefined
  const { items } = known ? await client.listReleases(product, { channel, limit: LOOKED_AT }) : { items: [] }
  const published = items.filter(({ state }) => state !== 'draft')
  const scheduled = offered?.preload === undefined ? [] : [offered.preload.version]
  const versions = [...own, ...scheduled, ...published.map(({ version }) => version)]
  const sequence = offered?.manifest.sequence ?? 0
  const last = published.toSorted((one, other) => other.sequence - one.sequence)[0]
  if (last === undefined || last.sequence <= sequence) return { versions, sequence }
  return {
    versions,
    sequence: Math.max(sequence, await signedSequence(home, client, { channel, version: last.version })),
  }
}

/** The release that a head offers to everybody, as far as this home has it. */
export async function releaseOf({ paths }: HomeSession, head: Head | undefined): Promise<StoredRelease | undefined> {
  const releases = head === undefined ? [] : await readReleases(paths, head.channel)
  return releases.find(({ sha256 }) => sha256 === head?.manifest.sha256)
}

/** A release without a key file is followed by one without: its publisher keeps the key on a server. */
export function carriesKeyFile(before: StoredRelease | undefined): boolean {
  const { files = [] } = before?.manifest ?? {}
  return !files.some(({ keyId }) => keyId !== undefined) || files.some(({ path }) => path === runtimeKeyFile)
}

/** The share of installs that gets the release: as it is said, else as the rollout that runs has it. */
export function shareOf(base: Head | undefined, percent: number | undefined): number {
  return percent ?? (base?.rollout?.paused === true ? undefined : base?.rollout?.percent) ?? 100
}

/** A channel as it is when a release is made for it. */
interface ChannelNow {
  readonly home: HomeSession
  readonly channel: string
  readonly client: ReleaseServerClient
  /** The head in force. */
  readonly offered: Head | undefined
}

/** The name of the release, once the keys that would make it were checked. */
export async function nameRelease(
  host: PublisherHost,
  { project, version: given }: { readonly project: Project; readonly version?: string | undefined },
  { home, channel, client, offered }: ChannelNow,
): Promise<{ readonly version: string; readonly after: number }> {
  await checkKeysInForce(home, await newestRelease(home, channel))
  await checkKeysInForce(home, await releaseOf(home, offered))
  const taken = await takenNames(home, channel, client, offered)
  const version = given ?? (await projectVersion(project, host.clock(), taken.versions))
  checkVersionName(version) // before it becomes part of a path that is emptied
  return { version, after: taken.sequence }
}

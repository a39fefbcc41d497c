import { join } from 'node:path'
import { buildManifest, checkVersionName, nextVersion } from '@keyturn/manifest/publish'
import { pathExists } from '@keyturn/primitives/node'
import type { ReleaseServerClient } from '@keyturn/release-client'
import { PublisherError } from '../errors.ts'
import { activeContentKey } from '../home.ts'
import type { HomeSession } from '../home-session.ts'
import { removeInside } from '../inside.ts'
import type { PublisherHost } from '../session.ts'
import { contentKeysOf, prepareRelease, storeRelease } from './prepare-release.ts'
import { rotateTree } from '../tree/rotate-tree.ts'
import { runtimeKeyFile, writeRuntimeKeyFile } from '../records/runtime-key-file.ts'
import { newestRelease, refuseSealed } from '../records/sealed.ts'
import { checkRolesLast, signRelease } from './sign-release.ts'
import { readIfThere, readReleases, releaseFiles, rolesInForce, takenVersions } from '../records/store.ts'
import type { StoredRelease } from '../records/store.ts'
import { treeAtHand } from '../server/tree-at-hand.ts'

/** How the files of a release are offered again. */
export interface ReissuePlan {
  /** Channel that gets them. */
  readonly channel: string
  /** The release goes back to older files. */
  readonly rollback: boolean
  /** Default: today with the next number. */
  readonly version?: string | undefined
  /** The server that has the files, when they are not at hand. */
  readonly client?: ReleaseServerClient | undefined
}

async function indexesOf(release: StoredRelease): Promise<Map<string, Uint8Array>> {
  const indexes = new Map<string, Uint8Array>()
  for (const { index } of release.manifest.files) {
    const bytes = index && (await readIfThere(join(release.folder, releaseFiles.index, index.sha256)))
    if (index !== undefined && bytes !== undefined) indexes.set(index.sha256, bytes)
  }
  return indexes
}

/**
 * A build keeps its name on every channel it is promoted to; files that come back on their own channel get a new one.
 */
async function versionFor(
  { paths }: HomeSession,
  { manifest }: StoredRelease,
  { channel, rollback }: ReissuePlan,
  nowMs: number,
): Promise<string> {
  const isTaken = (await readReleases(paths, channel)).some((release) => release.manifest.version === manifest.version)
  return rollback || isTaken ? nextVersion(nowMs, await takenVersions(paths)) : manifest.version
}

/** The tree of a release that is already there would be emptied. */
function checkIsFree(version: string, channel: string, releases: readonly StoredRelease[]): void {
  if (releases.every(({ manifest }) => manifest.version !== version)) return
  throw new PublisherError('CLI_EXISTS', `Release ${version} is already on channel "${channel}"`)
}

/**
 * The same files under the content key in force: a key that was rotated out never comes back, since anyone who has it
 * could open what is offered again. Payloads stay as they are, so players who have them download little.
 */
async function rewrapped(
  host: Pick<PublisherHost, 'clock' | 'signal'>,
  home: HomeSession,
  source: StoredRelease,
  { channel, rollback, version, client }: ReissuePlan & { readonly version: string },
): Promise<StoredRelease> {
  const { manifest } = source
  const from = await treeAtHand(home, source, client, host.signal)
  const key = activeContentKey(home.description)
  const tree = join(home.paths.trees, channel, version)
  // What an interrupted attempt left is made again.
  await removeInside(home.paths.trees, channel, version)
  const slot = Math.max(1, ...home.description.slots)
  await rotateTree(home, from, tree, { keyId: key.keyId, slot, full: false, signal: host.signal })
  if (await pathExists(join(from, runtimeKeyFile))) await writeRuntimeKeyFile(home, tree, key)
  return await prepareRelease(home, {
    tree,
    channel,
    version,
    like: manifest,
    rollbackOf: rollback ? manifest.version : undefined,
    nowMs: host.clock(),
    signal: host.signal,
  })
}

/**
 * Makes and signs a new manifest with the files of an existing release: the next sequence of the channel, so that no
 * floor is in the way and no server could have done it alone. Files under a content key that was rotated out are
 * wrapped with the one in force first.
 *
 * @param host - The program.
 * @param home - Open home, locked.
 * @param source - The release with the files.
 * @param plan - Where they go, and whether it is a step back.
 * @throws {@link PublisherError} `REL_ROLES_EXPIRED`; `CLI_EXISTS` when the version is taken; those of
 *   `prepareRelease`.
 */
export async function reissueRelease(
  host: Pick<PublisherHost, 'clock' | 'signal'>,
  home: HomeSession,
  source: StoredRelease,
  plan: ReissuePlan,
): Promise<StoredRelease> {
  const { description, paths } = home
  const releases = await readReleases(paths, plan.channel)
  const last = await newestRelease(home, plan.channel)
  const roles = await rolesInForce(paths, description.identity.prefix)
  const { format, notes, minLauncherVersion, launcher, files, requires, ...rules } = source.manifest
  const nowMs = host.clock()
  refuseSealed(description, source)
  checkRolesLast(roles.document, nowMs)
  const version = plan.version ?? (await versionFor(home, source, plan, nowMs))
  checkVersionName(version) // before it becomes part of a path that is emptied
  checkIsFree(version, plan.channel, releases)
  const { keyId } = activeContentKey(description)
  if (files.some((file) => file.keyId !== undefined && file.keyId !== keyId))
    return await signRelease(home, await rewrapped(host, home, source, { ...plan, version }))
  const manifest = buildManifest(files, {
    version,
    nowMs,
    format,
    allowTag: plan.version !== undefined,
    previous: last?.manifest.version,
    notes,
    minLauncherVersion,
    launcher,
    release: {
      product: description.product,
      channel: plan.channel,
      epoch: roles.document.epoch,
      rolesVersion: roles.document.version,
      sequence: (last?.manifest.sequence ?? 0) + 1,
      previousSha256: last?.sha256,
      contentKeys: contentKeysOf(description),
      delete: rules.delete,
      keep: rules.keep,
      program: rules.program,
      components: rules.components,
      critical: rules.critical,
      archiveFormat: rules.archiveFormat,
      requires,
      rollbackOf: plan.rollback ? source.manifest.version : undefined,
    },
  })
  return await signRelease(home, await storeRelease(home, manifest, source.tree, await indexesOf(source)))
}

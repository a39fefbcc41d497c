import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { buildManifest, nextVersion } from '@keyturn/manifest'
import type { ContentKey } from '@keyturn/manifest'
import { pathExists } from '@keyturn/primitives/node'
import { activeContentKey } from '@keyturn/publisher'
import type { Context } from '../../command.ts'
import type { HomeSession } from '@keyturn/publisher'
import {
  checkRolesLast,
  prepareRelease,
  readIfThere,
  readReleases,
  releaseFiles,
  rolesInForce,
  rotateTree,
  runtimeKeyFile,
  signRelease,
  storeRelease,
  takenVersions,
  writeRuntimeKeyFile,
} from '@keyturn/publisher/release'
import type { StoredRelease } from '@keyturn/publisher/release'

/** How the files of a release are offered again. */
export interface ReissuePlan {
  /** Channel that gets them. */
  readonly channel: string
  /** The release goes back to older files. */
  readonly rollback: boolean
  /** Default: today with the next number. */
  readonly version?: string | undefined
}

async function indexesOf(release: StoredRelease): Promise<Map<string, Uint8Array>> {
  const indexes = new Map<string, Uint8Array>()
  for (const { index } of release.manifest.files) {
    const bytes = index && (await readIfThere(join(release.folder, releaseFiles.index, index.sha256)))
    if (index !== undefined && bytes !== undefined) indexes.set(index.sha256, bytes)
  }
  return indexes
}

/** A build keeps its name on every channel it is promoted to; files that come back on their own channel get a new one. */
async function versionFor(
  { paths }: HomeSession,
  { manifest }: StoredRelease,
  { channel, rollback }: ReissuePlan,
  nowMs: number,
): Promise<string> {
  const isTaken = (await readReleases(paths, channel)).some((release) => release.manifest.version === manifest.version)
  return rollback || isTaken ? nextVersion(nowMs, await takenVersions(paths)) : manifest.version
}

/**
 * The same files under the content key in force: a key that was rotated out never comes back, since anyone who has it
 * could open what is offered again. Payloads stay as they are, so players who have them download little.
 */
async function rewrapped(
  context: Context,
  home: HomeSession,
  source: StoredRelease,
  { channel, rollback, version }: ReissuePlan & { readonly version: string },
): Promise<StoredRelease> {
  const { manifest } = source
  const key = activeContentKey(home.description)
  const tree = join(home.paths.trees, channel, version)
  // What an interrupted attempt left is made again.
  await rm(tree, { recursive: true, force: true })
  const slot = Math.max(1, ...home.description.slots)
  await rotateTree(home, source.tree, tree, { keyId: key.keyId, slot, full: false }, context.signal)
  if (await pathExists(join(source.tree, runtimeKeyFile))) await writeRuntimeKeyFile(home, tree, key)
  const { notes, minLauncherVersion, format, launcher } = manifest
  return await prepareRelease(home, {
    tree,
    channel,
    version,
    notes,
    minLauncherVersion,
    format,
    launcher: launcher?.path,
    like: manifest,
    rollbackOf: rollback ? manifest.version : undefined,
    nowMs: context.clock(),
    signal: context.signal,
  })
}

/**
 * Makes and signs a new manifest with the files of an existing release: the next sequence of the channel, so that no
 * floor is in the way and no server could have done it alone.
 */
export async function reissueRelease(
  context: Context,
  home: HomeSession,
  source: StoredRelease,
  plan: ReissuePlan,
): Promise<StoredRelease> {
  const { description, paths } = home
  const last = (await readReleases(paths, plan.channel)).at(-1)
  const roles = await rolesInForce(paths, description.identity.prefix)
  const {
    format,
    notes,
    minLauncherVersion,
    launcher,
    files,
    delete: removed,
    keep,
    requires,
    critical,
    program,
    components,
  } = source.manifest
  const nowMs = context.clock()
  checkRolesLast(roles.document, nowMs)
  const version = plan.version ?? (await versionFor(home, source, plan, nowMs))
  const { keyId } = activeContentKey(description)
  if (files.some((file) => file.keyId !== undefined && file.keyId !== keyId))
    return await signRelease(home, await rewrapped(context, home, source, { ...plan, version }))
  const manifest = buildManifest(files, {
    version,
    nowMs,
    format,
    allowTag: plan.version !== undefined,
    ...(last === undefined ? {} : { previous: last.manifest.version }),
    ...(notes === undefined ? {} : { notes }),
    ...(minLauncherVersion === undefined ? {} : { minLauncherVersion }),
    ...(launcher === undefined ? {} : { launcher }),
    release: {
      product: description.product,
      channel: plan.channel,
      epoch: roles.document.epoch,
      rolesVersion: roles.document.version,
      sequence: (last?.manifest.sequence ?? 0) + 1,
      ...(last === undefined ? {} : { previousSha256: last.sha256 }),
      contentKeys: contentKeysOf(description),
      delete: removed,
      keep,
      program,
      components,
      critical,
      ...(requires === undefined ? {} : { requires }),
      ...(plan.rollback ? { rollbackOf: source.manifest.version } : {}),
    },
  })
  return await signRelease(home, await storeRelease(home, manifest, source.tree, await indexesOf(source)))
}

/** The home's content keys as a manifest lists them. */
function contentKeysOf({ contentKeys }: HomeSession['description']): ContentKey[] {
  return contentKeys.map(({ keyId, verifierPub, commitment, status }) => ({ keyId, verifierPub, commitment, status }))
}

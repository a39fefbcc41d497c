import { join } from 'node:path'
import { buildManifest, nextVersion } from '@keyturn/manifest'
import type { Context } from '../../command.ts'
import type { HomeSession } from '@keyturn/publisher'
import {
  readIfThere,
  readReleases,
  releaseFiles,
  rolesInForce,
  signRelease,
  storeRelease,
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
  } = source.manifest
  const nowMs = context.clock()
  const manifest = buildManifest(files, {
    version: plan.version ?? nextVersion(nowMs, last?.manifest.version),
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
      contentKeys: description.contentKeys.map(({ keyId, verifierPub, commitment, status }) => ({
        keyId,
        verifierPub,
        commitment,
        status,
      })),
      delete: removed,
      keep,
      critical,
      ...(requires === undefined ? {} : { requires }),
      ...(plan.rollback ? { rollbackOf: source.manifest.version } : {}),
    },
  })
  return await signRelease(home, await storeRelease(home, manifest, source.tree, await indexesOf(source)))
}

import { parseManifest } from '@keyturn/manifest'
import { parseChunkIndex } from '@keyturn/manifest/delta'
import type { ManifestFile, ReleaseManifest } from '@keyturn/manifest'
import type { ChunkIndex } from '@keyturn/manifest/delta'
import type { ReleaseServerClient } from '@keyturn/release-client'
import type { HomeSession } from '../home-session.ts'
import { chunkIndexOf } from '../records/chunk-indexes.ts'
import { readReleases } from '../records/store.ts'
import type { StoredRelease } from '../records/store.ts'

/** Releases whose blobs an upload may take pieces from. */
const MAX_BASES = 3

/** A release that the server has. */
export interface UploadBase {
  readonly manifest: ReleaseManifest
  /** The index of one of its files; undefined when it has none. */
  indexOf(file: ManifestFile): Promise<ChunkIndex | undefined>
}

/**
 * Releases of a channel that pieces of a new one can be taken from: those of this home, newest first, and what the
 * server has published, which is all that a home without history can know. None of it is trusted: a base that is wrong
 * costs an upload of the whole file, since the hash of the result decides.
 */
export async function uploadBases(
  home: HomeSession,
  client: ReleaseServerClient,
  release: StoredRelease,
): Promise<UploadBase[]> {
  const { channel = home.description.channel, sequence } = release.manifest
  const earlier = (await readReleases(home.paths, channel)).filter(
    (other) =>
      other.sha256 !== release.sha256 && (other.manifest.sequence ?? 0) < (sequence ?? Number.MAX_SAFE_INTEGER),
  )
  const own = earlier
    .toReversed()
    .slice(0, MAX_BASES)
    .map((base): UploadBase => ({
      manifest: base.manifest,
      indexOf: async (file) => (await chunkIndexOf(base, file)) ?? (await fetchIndex(client, file)),
    }))
  // Only a saving: what the server does not tell, or tells wrongly, must not stop an upload.
  const published = await publishedBase(home.description.product, channel, client).catch(() => undefined)
  const isKnown = published === undefined || earlier.some(({ sha256 }) => sha256 === published.sha256)
  return isKnown ? own : [...own, published.base]
}

async function publishedBase(
  product: string,
  channel: string,
  client: ReleaseServerClient,
): Promise<{ readonly sha256: string; readonly base: UploadBase } | undefined> {
  const pin = (await client.getChannel(product, channel))?.manifest
  if (pin === undefined || pin === null) return undefined
  const bytes = await client.fetchPublic(`/p/${product}/channels/${channel}/manifests/${pin.version}.json`)
  if (bytes === undefined) return undefined
  const indexOf = async (file: ManifestFile): Promise<ChunkIndex | undefined> => await fetchIndex(client, file)
  return { sha256: pin.sha256, base: { manifest: parseManifest(bytes), indexOf } }
}

async function fetchIndex(client: ReleaseServerClient, file: ManifestFile): Promise<ChunkIndex | undefined> {
  if (file.index === undefined) return undefined
  const { sha256, size } = file.index
  const index = await client.fetchPublic(`/files/${sha256.slice(0, 2)}/${sha256}`, { maxBytes: size })
  return index && parseChunkIndex(index, { reference: file.index, blobSha256: file.sha256, blobBytes: file.size })
}

import { open, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { formatPin } from '@keyturn/kel'
import type { ReleaseServerClient } from '@keyturn/release-client'
import { PublisherError } from '../errors.ts'
import type { Progress } from '../session.ts'
import type { HomeSession } from '../home-session.ts'
import { findRelease, readIdentityLog, readIfThere, readRoles, releaseFiles } from './store.ts'
import type { StoredHead, StoredRelease } from './store.ts'

/** What a publish sent. */
export interface PublishReport {
  readonly version: string
  readonly sequence: number
  /** Blobs the server lacked. */
  readonly blobs: number
  /** Their bytes. */
  readonly bytes: number
  /** Blobs the server had already. */
  readonly present: number
}

/** How a release is published. */
export interface PublishOptions {
  readonly signal: AbortSignal
  readonly progress?: Progress
}

/**
 * Publishes a release: blobs the server lacks, role documents, log, manifest with signatures, then the head, which makes
 * all of it visible in one step.
 *
 * @throws {@link PublisherError} `CLI_TURN_UNREADY` when it is not signed; what the server answers.
 */
export async function publishRelease(
  home: HomeSession,
  client: ReleaseServerClient,
  release: StoredRelease,
  head: StoredHead,
  options: PublishOptions,
): Promise<PublishReport> {
  const { description, paths } = home
  const { manifest } = release
  const channel = manifest.channel ?? description.channel
  await ensureProduct(home, client)
  const ahead = await trustAhead(home, client)
  // A head may also pin what those outside a rollout get: it has to be there first, like everything a head names.
  if (head.head.fallback !== undefined)
    await uploadRelease(home, client, await findRelease(paths, channel, head.head.fallback.version), options)
  const sent = await uploadRelease(home, client, release, options)
  await client.publish(description.product, channel, {
    version: manifest.version,
    head: head.bytes,
    ...ahead,
    ...renewed(release),
  })
  return { version: manifest.version, sequence: manifest.sequence ?? 0, ...sent }
}

/**
 * Log and role documents when the home is ahead of the server: they go with the head in one step, so that no launcher
 * ever sees the new log with the old signatures. A server that has none yet gets them at once.
 */
async function trustAhead(
  home: HomeSession,
  client: ReleaseServerClient,
): Promise<{ log?: Uint8Array; roles?: readonly Uint8Array[] }> {
  const { description, paths } = home
  const known = (await client.getProduct(description.product))?.log
  const { bytes, log } = await readIdentityLog(paths, description.identity.prefix)
  if (known === undefined || known === null) {
    await publishTrust(home, client)
    return {}
  }
  if (known.said === log.state.said) return {}
  return { log: bytes, roles: (await readRoles(paths, description.identity.prefix)).map((roles) => roles.bytes) }
}

function renewed({ manifest, signatures }: StoredRelease): { signatures: Uint8Array } {
  if (signatures !== undefined) return { signatures }
  throw new PublisherError('CLI_TURN_UNREADY', `Release ${manifest.version} is not signed yet`, {
    hint: 'Run "keyturn release sign"',
  })
}

/** Uploads a release as a draft: blobs, then the manifest with its signatures. */
async function uploadRelease(
  home: HomeSession,
  client: ReleaseServerClient,
  release: StoredRelease,
  options: PublishOptions,
): Promise<{ blobs: number; bytes: number; present: number }> {
  const { description } = home
  const { manifest } = release
  const channel = manifest.channel ?? description.channel
  const { signatures } = renewed(release)
  const sent = await uploadBlobs(client, release, options)
  const known = await client.getRelease(description.product, channel, manifest.version)
  const legacySignature = await readIfThere(join(release.folder, releaseFiles.legacySignature))
  if (known === undefined) {
    await client.createRelease(description.product, {
      manifest: release.bytes,
      signatures,
      ...(legacySignature === undefined ? {} : { legacySignature }),
    })
  }
  return sent
}

/**
 * Publishes a turned identity: role documents, log, renewed signatures and the head in one step. No file is uploaded,
 * unless the head pins a release that the server never got.
 */
export async function publishRotation(
  home: HomeSession,
  client: ReleaseServerClient,
  release: StoredRelease,
  head: StoredHead,
): Promise<void> {
  await publishRelease(home, client, release, head, { signal: new AbortController().signal })
}

/** Uploads role documents and log as they are in the home; the server takes what extends its own. */
export async function publishTrust(home: HomeSession, client: ReleaseServerClient): Promise<void> {
  const { description, paths } = home
  await ensureProduct(home, client)
  for (const { document, bytes } of await readRoles(paths, description.identity.prefix))
    await client.putRoles(description.product, document.version, bytes)
  const { bytes } = await readIdentityLog(paths, description.identity.prefix)
  await client.putLog(description.product, bytes)
}

/** The pin launchers get: the inception of the identity. */
export async function trustPin(home: HomeSession): Promise<string> {
  const { log } = await readIdentityLog(home.paths, home.description.identity.prefix)
  const first = log.events[0]
  if (first === undefined) throw new PublisherError('CLI_HOME_FORMAT', 'The key event log of this home is empty')
  return formatPin({ prefix: log.prefix, place: { sn: 0, said: first.said } })
}

async function ensureProduct(home: HomeSession, client: ReleaseServerClient): Promise<void> {
  const { product, channel } = home.description
  if ((await client.getProduct(product)) !== undefined) return
  await client.createProduct({ slug: product, name: product, pin: await trustPin(home), default_channel: channel })
}

async function uploadBlobs(
  client: ReleaseServerClient,
  release: StoredRelease,
  { signal, progress }: PublishOptions,
): Promise<{ blobs: number; bytes: number; present: number }> {
  const { files, launcher } = release.manifest
  const sources = [...files, ...(launcher === undefined ? [] : [launcher])].map(({ path, sha256, size }) =>
    fileBlob(join(release.tree, path), sha256, size),
  )
  const indexFolder = join(release.folder, releaseFiles.index)
  const indexSizes = new Map(
    release.manifest.files.flatMap(({ index }) => (index === undefined ? [] : [[index.sha256, index.size] as const])),
  )
  for (const name of await readdir(indexFolder).catch(() => [])) {
    const size = indexSizes.get(name)
    if (size !== undefined) sources.push(fileBlob(join(indexFolder, name), name, size))
  }
  const total = sources.reduce((sum, { size }) => sum + size, 0)
  let done = 0
  return await client.uploadMissing(sources, {
    signal,
    onProgress: (bytes) => {
      done += bytes
      progress?.update(done, total)
    },
  })
}

interface FileBlob {
  readonly sha256: string
  readonly size: number
  read(offset: number, length: number): Promise<Uint8Array>
}

function fileBlob(path: string, sha256: string, size: number): FileBlob {
  return {
    sha256,
    size,
    read: async (offset, length) => {
      const handle = await open(path, 'r')
      try {
        const bytes = new Uint8Array(Math.min(length, size - offset))
        const { bytesRead } = await handle.read(bytes, 0, bytes.length, offset)
        return bytes.subarray(0, bytesRead)
      } finally {
        await handle.close()
      }
    },
  }
}

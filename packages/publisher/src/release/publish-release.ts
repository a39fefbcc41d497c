import { join } from 'node:path'
import { formatPin } from '@keyturn/kel'
import type { Head, ManifestPin } from '@keyturn/manifest'
import { KeyturnError } from '@keyturn/primitives'
import { ServerError } from '@keyturn/release-client'
import type { ChannelView, Publication, ReleaseServerClient, WantedHead } from '@keyturn/release-client'
import { PublisherError } from '../errors.ts'
import type { Progress } from '../session.ts'
import type { HomeSession } from '../home-session.ts'
import { noteHeadPublished } from '../records/heads.ts'
import type { StoredHead } from '../records/heads.ts'
import { runtimeKeyFile } from '../records/runtime-key-file.ts'
import { requireSigned } from './sign-release.ts'
import { headsOfNewLog, renewStanding } from './standing-signatures.ts'
import { readIdentityLog, readIfThere, readReleases, readRoles, releaseFiles } from '../records/store.ts'
import type { StoredRelease } from '../records/store.ts'
import { uploadRelease } from '../server/upload-release.ts'
import { readKnownHeads } from '../records/verified-head.ts'
import { uploadRuntimeKeys } from '../server/upload-runtime-keys.ts'
import type { UploadedRuntimeKeys } from '../server/upload-runtime-keys.ts'

/** What a publish sent. */
export interface PublishReport {
  readonly version: string
  readonly sequence: number
  /** Blobs the server lacked. */
  readonly blobs: number
  /** Bytes that were sent: of a large file only what is new. */
  readonly bytes: number
  /** Blobs the server had already. */
  readonly present: number
  /** Of a release without a key file: what the server delivers over Noise. */
  readonly runtimeKeys?: UploadedRuntimeKeys | undefined
  /** What somebody asked the server for on this channel, and still waits for a head. */
  readonly wanted?: WantedHead | undefined
}

/** How a release is published. */
export interface PublishOptions {
  readonly signal: AbortSignal
  readonly progress?: Progress | undefined
  /** A release that opens at its hour: nothing is published unless the server takes its key; default false. */
  readonly needsKey?: boolean | undefined
  /** The head repeats an offer: releases that the server published already are not looked at again; default false. */
  readonly repeats?: boolean | undefined
  /**
   * The head that the channel has to be at, by its sequence: then nobody's offer is overwritten. Default: whichever.
   */
  readonly ifHeadSequence?: number | undefined
  /** A draft on the server that has the version or sequence of the release goes; default false. */
  readonly replacesDrafts?: boolean | undefined
}

/**
 * Publishes a head and all it names: blobs the server lacks, role documents, log, manifests with signatures, then the
 * head, which makes all of it visible in one step. From then on the home counts it as published. A release that is not
 * in this home has to be on the server already, with the bytes that the head pins.
 *
 * @throws {@link PublisherError} `CLI_TURN_UNREADY` when a release is not signed, `CLI_PATH_UNKNOWN` when a release or
 *   a
 *   file of one is gone, `REL_TREE_CHANGED` when a file changed since; ServerError `PUB_STALE` when somebody else
 *   published
 *   meanwhile and `ifHeadSequence` was given; what the server answers.
 */
export async function publishHead(
  home: HomeSession,
  client: ReleaseServerClient,
  head: StoredHead,
  options: PublishOptions,
): Promise<PublishReport> {
  try {
    return await sendHead(home, client, head, options)
  } catch (error) {
    throw await staleInstead(home, client, { head: head.head, options, error })
  }
}

/** Said of a release that somebody else replaced before it was published. */
const REPLACED = new Set(['SRV_NOT_FOUND', 'PUB_UNKNOWN_RELEASE'])
/** Said also of what has other causes: the head that the server shows decides. */
const OVERTAKEN = new Set(['PUB_TAKEN', 'PUB_ROLLBACK', 'PUB_STALE'])

interface Failed {
  readonly head: Head
  readonly options: PublishOptions
  readonly error: unknown
}

/** Of two publishers at once, the one that loses gets one code, whatever it ran into first. */
async function staleInstead(home: HomeSession, client: ReleaseServerClient, failed: Failed): Promise<unknown> {
  const { error, head } = failed
  const { ifHeadSequence } = failed.options
  if (ifHeadSequence === undefined || !(error instanceof KeyturnError)) return error
  if (!REPLACED.has(error.code)) {
    if (!OVERTAKEN.has(error.code)) return error
    const { server } = await readKnownHeads(home, head.channel, client).catch(() => ({ server: undefined }))
    if (server === undefined || server.head.sequence === ifHeadSequence) return error
  }
  return new ServerError(
    'PUB_STALE',
    `Somebody else published on channel "${head.channel}" while release ${head.manifest.version} was made`,
    { cause: error, hint: 'Nothing of this release is offered. Run the same command again: it follows the new offer' },
  )
}

async function sendHead(
  home: HomeSession,
  client: ReleaseServerClient,
  { head, bytes }: StoredHead,
  options: PublishOptions,
): Promise<PublishReport> {
  const { paths } = home
  const { channel, manifest, fallback, preload } = head
  await ensureProduct(home, client)
  const ahead = await trustAhead(home, client)
  const sending = { ...options, ahead }
  // What those outside a rollout get has to be there first, like everything a head names.
  if (fallback !== undefined)
    await sendRelease(home, client, { channel, pin: fallback, role: 'what those outside the rollout get' }, sending)
  if (preload !== undefined)
    await sendRelease(home, client, { channel, pin: preload, role: 'the scheduled release', isSealed: true }, sending)
  const sent = await sendRelease(home, client, { channel, pin: manifest, role: 'the release on offer' }, sending)
  const { signatures, ...report } = sent
  // Before the head: a server must have a key when the first player asks for it.
  const own = (await readReleases(paths, channel)).find(({ sha256 }) => sha256 === manifest.sha256)
  const runtimeKeys =
    own === undefined || options.repeats === true ? undefined : await uploadRuntimeKeys(home, client, own.manifest)
  if (options.needsKey === true && runtimeKeys?.problem !== undefined)
    throw new PublisherError(
      'REL_KEY_NOT_TAKEN',
      `Release ${manifest.version} stays closed: the server did not take its runtime key. ${runtimeKeys.problem}`,
      { hint: 'Nobody could start it. Give the server a vault, or schedule a release with a key file' },
    )
  if (ahead.log !== undefined) await renewStanding(home, client, head)
  const { wanted } = await publishWithLog(home, client, channel, {
    version: manifest.version,
    head: bytes,
    ifHeadSequence: options.ifHeadSequence,
    ...ahead,
    signatures,
  })
  await noteHeadPublished(paths, channel, bytes)
  return { version: manifest.version, sequence: manifest.sequence, ...report, runtimeKeys, wanted: wanted ?? undefined }
}

/**
 * A newer log comes with the head of one channel. Where the heads of all others count under that log alone, the log goes
 * first and they follow at once.
 */
async function publishWithLog(
  home: HomeSession,
  client: ReleaseServerClient,
  channel: string,
  publication: Publication,
): Promise<ChannelView> {
  const { product } = home.description
  try {
    return await client.publish(product, channel, publication)
  } catch (error) {
    if (!(error instanceof KeyturnError) || error.code !== 'PUB_WOULD_BREAK') throw error
    const others = await headsOfNewLog(home, client, channel)
    if (others === undefined) throw error
    await publishTrust(home, client, { force: true })
    const view = await client.publish(product, channel, publication)
    for (const head of others) await sendHead(home, client, head, { signal: new AbortController().signal })
    return view
  }
}

/** As {@link publishHead}, for a release at hand. */
export async function publishRelease(
  home: HomeSession,
  client: ReleaseServerClient,
  { release, head }: { readonly release: StoredRelease; readonly head: StoredHead },
  options: PublishOptions,
): Promise<PublishReport> {
  requireSigned(release)
  return await publishHead(home, client, head, options)
}

/** A release that a head names, and what for. */
interface NamedRelease {
  readonly channel: string
  readonly pin: ManifestPin
  readonly role: string
  /** It is scheduled: its key stays here, also where it is a file of the release. */
  readonly isSealed?: boolean
}

async function sendRelease(
  home: HomeSession,
  client: ReleaseServerClient,
  { channel, pin, role, isSealed = false }: NamedRelease,
  options: SendOptions,
): Promise<{ blobs: number; bytes: number; present: number; signatures?: Uint8Array }> {
  const own = (await readReleases(home.paths, channel)).find(({ sha256 }) => sha256 === pin.sha256)
  const known = await client.getRelease(home.description.product, channel, pin.version)
  const isThere = known !== undefined && known.sha256 === pin.sha256
  // What a server published it keeps: repeating an offer asks for no file of the tree.
  if (isThere && (known.state === 'published' || isSealed) && options.repeats === true)
    return { blobs: 0, bytes: 0, present: known.files, ...(own && { signatures: requireSigned(own) }) }
  if (own !== undefined)
    return {
      // A scheduled release may have been signed again since: the server keeps the signatures that count.
      ...(await draftRelease(home, client, own, { ...options, role, isThere: isThere && !isSealed, isSealed })),
      signatures: requireSigned(own),
    }
  if (isThere) return { blobs: 0, bytes: 0, present: known.files }
  throw new PublisherError(
    'CLI_PATH_UNKNOWN',
    `Release ${pin.version} of channel "${channel}", ${role}, is neither in this home nor on the server`,
    { hint: 'Publish from the home that made it, or restore it from a backup' },
  )
}

/** What of the identity the server does not have yet; empty when it has all. */
interface TrustAhead {
  readonly log?: Uint8Array
  readonly roles?: readonly Uint8Array[]
}

/**
 * Log and role documents when the home is ahead of the server: they go with the head in one step, so that no launcher
 * ever sees the new log with the old signatures. A server that has none yet gets them at once.
 */
async function trustAhead(home: HomeSession, client: ReleaseServerClient): Promise<TrustAhead> {
  const { description, paths } = home
  const known = await client.getProduct(description.product)
  const { bytes, log } = await readIdentityLog(paths, description.identity.prefix)
  if (known === undefined || known.log === null) {
    await publishTrust(home, client)
    return {}
  }
  if (known.log.said === log.state.said) return {}
  const all = await readRoles(paths, description.identity.prefix)
  const missing = all.filter(({ document }) => document.version > (known.roles?.version ?? 0))
  // Of very many the oldest go ahead: the server keeps them until the log that seals them comes.
  for (const { document, bytes: roles } of missing.slice(0, -MAX_ROLES_AT_ONCE))
    await client.putRoles(description.product, document.version, roles)
  return { log: bytes, roles: missing.slice(-MAX_ROLES_AT_ONCE).map((roles) => roles.bytes) }
}

/** Role documents in one request, as the server takes them. */
const MAX_ROLES_AT_ONCE = 16

type SendOptions = PublishOptions & { readonly ahead: TrustAhead }

type UploadOptions = SendOptions & {
  readonly role: string
  readonly isThere: boolean
  readonly isSealed: boolean
}

/** Uploads a release as a draft: blobs, then the manifest with its signatures. */
async function draftRelease(
  home: HomeSession,
  client: ReleaseServerClient,
  release: StoredRelease,
  options: UploadOptions,
): Promise<{ blobs: number; bytes: number; present: number }> {
  const { description } = home
  const signatures = requireSigned(release)
  const without = options.isSealed ? new Set([runtimeKeyFile]) : undefined
  const sent = await uploadRelease(home, client, release, { ...options, without })
  const legacySignature = await readIfThere(join(release.folder, releaseFiles.legacySignature))
  if (options.isThere) return sent
  const draft = {
    manifest: release.bytes,
    signatures,
    legacySignature,
    // A new release of keys that the server does not know yet: they come with it, as they do with the head.
    ...options.ahead,
  }
  try {
    await client.createRelease(description.product, draft)
  } catch (error) {
    const isTaken = error instanceof KeyturnError && error.code === 'PUB_TAKEN'
    if (!isTaken || options.replacesDrafts !== true || !(await discardDrafts(home, client, release))) throw error
    await client.createRelease(description.product, draft)
  }
  return sent
}

/**
 * Removes drafts that were never published and are in the way: an interrupted job left them. @returns Whether any did.
 */
async function discardDrafts(
  { description: { product } }: HomeSession,
  client: ReleaseServerClient,
  { manifest, sha256 }: StoredRelease,
): Promise<boolean> {
  const { channel = '', version, sequence } = manifest
  const { items } = await client.listReleases(product, { channel, state: 'draft', limit: DRAFTS_LOOKED_AT })
  const inTheWay = items.filter(
    (draft) => draft.sha256 !== sha256 && (draft.version === version || draft.sequence === sequence),
  )
  for (const draft of inTheWay) await client.discardDraft(product, channel, draft.version)
  return inTheWay.length > 0
}

/** Newest first: those that are in the way have the next sequence, or a version of today. */
const DRAFTS_LOOKED_AT = 100

/**
 * Publishes a rotated identity: role documents, log, renewed signatures and the head in one step. No file is uploaded,
 * unless the head pins a release that the server never got.
 */
export async function publishRotation(
  home: HomeSession,
  client: ReleaseServerClient,
  release: StoredRelease,
  head: StoredHead,
): Promise<void> {
  await publishRelease(home, client, { release, head }, { signal: new AbortController().signal })
}

/** Uploads role documents and log as they are in the home; the server takes what extends its own. */
export async function publishTrust(
  home: HomeSession,
  client: ReleaseServerClient,
  options: { readonly force?: boolean } = {},
): Promise<void> {
  const { description, paths } = home
  await ensureProduct(home, client)
  for (const { document, bytes } of await readRoles(paths, description.identity.prefix))
    await client.putRoles(description.product, document.version, bytes)
  const { bytes } = await readIdentityLog(paths, description.identity.prefix)
  await client.putLog(description.product, bytes, options)
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

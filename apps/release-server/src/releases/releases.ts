import { parseManifest, parseSignatures, verifyManifestSignatures } from '@keyturn/manifest'
import { findKills } from '@keyturn/manifest/kill'
import type { ManifestPin, ReleaseManifest, RoleDocument, SigningRule } from '@keyturn/manifest'
import { base64Decode, base64Encode, collectBytes, KeyturnError, sha256Hex } from '@keyturn/primitives'
import type { ReleaseView } from '@keyturn/release-client'
import type { Caller } from '../access/caller.ts'
import { appendAudit, AUDIT_LOCK } from '../audit/audit.ts'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import { MAX_MANIFEST_BYTES } from '../limits.ts'
import { ListedError } from '../problem.ts'
import { isVersion } from '../public/paths.ts'
import { collection } from '../storage/collection.ts'
import { streamOf } from '../storage/hashing.ts'
import type { RecordReader, RecordWriter } from '../storage/metadata-store.ts'
import { flag, nullable, numeric, object, oneOf, preset, text, whole } from '../storage/shape.ts'
import { timestamp } from '../time.ts'
import { BLOBS_LOCK, recordBlob, touchBlobs } from '../uploads/blobs.ts'
import { readChannel } from './channels.ts'
import { checkLegacySignature } from './pinned-keys.ts'
import { productLock, readProduct } from './products.ts'
import { rolesOf } from './roles-of-release.ts'
import type { SentAuthority } from './roles-of-release.ts'
import { killsOf } from './trust.ts'

/** Releases by `<product>/<channel>/<sequence>`. */
export const releases = collection(
  'releases',
  object<ReleaseView>({
    product: text,
    channel: text,
    version: text,
    sequence: whole,
    sha256: text,
    length: whole,
    state: oneOf('draft', 'published', 'retired'),
    pinned: preset(flag, false),
    files: whole,
    bytes: whole,
    notes: text,
    created_at: text,
    created_by: text,
    published_at: nullable(text),
  }),
)
/** The sequence of a version, by `<product>/<channel>/<version>`. */
const versions = collection('release-versions', object<{ readonly sequence: number }>({ sequence: whole }))
/** The key of the release that has a manifest, by the SHA-256 of its bytes. */
const manifestReleases = collection('manifest-releases', object<{ readonly key: string }>({ key: text }))
/** Signatures of a release: the envelope is the body, the original's signature is beside it in base64. */
export const signatureRecords = collection(
  'release-signatures',
  object<{ readonly legacy: string | null }>({ legacy: nullable(text) }),
)
/** When a content key was first seen, by {@link contentKeyName}. */
const contentKeys = collection('content-keys', object<{ readonly first_ms: number }>({ first_ms: numeric }))

/** Key of a release; sequences sort as numbers do. */
export function releaseKey(product: string, channel: string, sequence: number): string {
  return `${product}/${channel}/${String(sequence).padStart(16, '0')}`
}

/** Key of what is remembered about a content key. */
function contentKeyName(product: string, keyId: number): string {
  return `${product}/${String(keyId).padStart(10, '0')}`
}

/** Name of the file of a release that holds its runtime key, where it is not delivered over Noise. */
const KEY_FILE = 'runtime-key.json'

/**
 * Hashes of all blobs that a release needs: files, indexes, the launcher.
 *
 * @param isSealed - Without the file of its key: the publisher keeps that until the release is offered.
 */
export function blobsOf(manifest: ReleaseManifest, isSealed = false): string[] {
  const hashes = new Set<string>()
  for (const { path, sha256, index } of manifest.files) {
    if (isSealed && path === KEY_FILE) continue
    hashes.add(sha256)
    if (index !== undefined) hashes.add(index.sha256)
  }
  if (manifest.launcher !== undefined) hashes.add(manifest.launcher.sha256)
  return [...hashes]
}

/** Who may sign releases: the keys of a role document, minus those that were revoked or that ended themselves. */
export async function releaseRule(records: RecordReader, product: string, roles: RoleDocument): Promise<SigningRule> {
  const kills = await killsOf(records, product)
  const killedKeys = kills === undefined ? [] : findKills([kills], roles).keys
  return { ...roles.roles.release, revokedKeys: roles.revokedKeys, killedKeys }
}

async function sequenceOf(
  records: RecordReader,
  product: string,
  channel: string,
  version: string,
): Promise<number | undefined> {
  return (await versions.get(records, `${product}/${channel}/${version}`))?.sequence
}

/** Finds a release by version; `undefined` when there is none on the channel. */
export async function findRelease(
  records: RecordReader,
  product: string,
  channel: string,
  version: string,
): Promise<ReleaseView | undefined> {
  const sequence = await sequenceOf(records, product, channel, version)
  return sequence === undefined ? undefined : releases.get(records, releaseKey(product, channel, sequence))
}

/** Reads a release by version; `SRV_NOT_FOUND` when there is none on the channel. */
export async function readRelease(
  records: RecordReader,
  product: string,
  channel: string,
  version: string,
): Promise<ReleaseView> {
  const found = await findRelease(records, product, channel, version)
  if (found === undefined)
    throw new ServerError('SRV_NOT_FOUND', `There is no release ${version} on channel ${channel}`)
  return found
}

/** Finds the release that has a manifest of this SHA-256. */
export async function releaseOfManifest(records: RecordReader, sha256: string): Promise<ReleaseView | undefined> {
  const found = await manifestReleases.get(records, sha256)
  return found === undefined ? undefined : releases.get(records, found.key)
}

/** When a content key of a product was first seen here, in milliseconds since 1970. */
export async function contentKeySeenMs(
  records: RecordReader,
  product: string,
  keyId: number,
): Promise<number | undefined> {
  return (await contentKeys.get(records, contentKeyName(product, keyId)))?.first_ms
}

/** Stores a release record. */
export async function putRelease(records: RecordWriter, release: ReleaseView): Promise<void> {
  await releases.put(records, {
    key: releaseKey(release.product, release.channel, release.sequence),
    value: release,
  })
}

/** Reads the literal bytes of a manifest, checked against its hash. */
export async function readManifestBytes(
  context: ServerContext,
  pin: Pick<ManifestPin, 'sha256' | 'length'>,
): Promise<Uint8Array> {
  const bytes = await collectBytes(
    await context.blobs.read(pin.sha256),
    Math.min(pin.length, MAX_MANIFEST_BYTES),
    (limit) => new ServerError('BLOB_CORRUPT', `Manifest ${pin.sha256} is longer in the storage than ${limit} bytes`),
  )
  if (sha256Hex(bytes) !== pin.sha256)
    throw new ServerError('BLOB_CORRUPT', `Manifest ${pin.sha256} is damaged in the storage`)
  return bytes
}

/** Signatures of a release as stored beside it. */
export interface StoredSignatures {
  readonly envelope: Uint8Array
  readonly legacy: Uint8Array | undefined
}

/** Reads the signatures of a release. */
export async function readSignatures(records: RecordReader, release: ReleaseView): Promise<StoredSignatures> {
  const found = await signatureRecords.find(records, releaseKey(release.product, release.channel, release.sequence))
  if (found?.body === undefined)
    throw new ServerError('SRV_STORAGE', `The signatures of release ${release.version} are missing from the storage`)
  const { legacy } = found.value
  return { envelope: found.body, legacy: legacy === null ? undefined : base64Decode(legacy) }
}

/** Stores the signatures of a release. */
export async function putSignatures(
  records: RecordWriter,
  release: ReleaseView,
  signatures: StoredSignatures,
): Promise<void> {
  await signatureRecords.put(records, {
    key: releaseKey(release.product, release.channel, release.sequence),
    value: { legacy: signatures.legacy === undefined ? null : base64Encode(signatures.legacy) },
    body: signatures.envelope,
  })
}

/** Throws `PUB_MISSING_BLOBS` with the list unless the server holds everything; what it holds gets a new lease. */
export async function requireBlobs(records: RecordWriter, hashes: readonly string[], now: number): Promise<void> {
  const missing: string[] = []
  for (let start = 0; start < hashes.length; start += 10_000)
    missing.push(...(await touchBlobs(records, hashes.slice(start, start + 10_000), now)))
  if (missing.length > 0)
    throw new ListedError('PUB_MISSING_BLOBS', `${missing.length} blobs of the release are missing`, missing)
}

interface ManifestPlace {
  readonly channel: string
  readonly sequence: number
}

function placeOf(manifest: ReleaseManifest, product: string): ManifestPlace {
  const { channel, sequence } = manifest
  if (!isVersion(manifest.version))
    throw new ServerError('SRV_REQUEST', 'Cannot take this manifest: its version cannot be part of an address')
  if (manifest.product !== product)
    throw new ServerError('SRV_REQUEST', `Cannot take this manifest: it is about product "${manifest.product ?? ''}"`)
  if (channel === undefined || sequence === undefined)
    throw new ServerError('SRV_REQUEST', 'Cannot take this manifest: it names no channel or no sequence')
  return { channel, sequence }
}

/** The documents of a new release. */
export interface ReleaseParts extends SentAuthority {
  readonly manifest: Uint8Array
  readonly signatures: Uint8Array
  readonly legacySignature: Uint8Array | undefined
}

/** A caller who creates a release. */
export interface ReleaseCaller extends Caller {
  /** Whether the caller may use a channel. */
  readonly mayUse: (channel: string) => boolean
}

/**
 * Creates an immutable draft: the release role signed its literal bytes (checked before they are parsed), version and
 * sequence are free, all blobs are stored.
 *
 * @throws ManifestError, ServerError `SRV_PRODUCT_TRUST`, `PUB_TAKEN`, `PUB_MISSING_BLOBS`, `PUB_LEGACY_KEY`.
 */
export async function createRelease(
  context: ServerContext,
  product: string,
  parts: ReleaseParts,
  { actor, requestId, mayUse }: ReleaseCaller,
): Promise<{ created: boolean; view: ReleaseView }> {
  const rule = await releaseRule(context.metadata, product, await rolesOf(context, product, parts))
  verifyManifestSignatures(parts.manifest, parts.signatures, rule)
  const manifest = parseManifest(parts.manifest)
  const { channel, sequence } = placeOf(manifest, product)
  if (!mayUse(channel)) throw new ServerError('SRV_SCOPE', `The token may not use channel "${channel}"`)
  const now = context.clock()
  const view = draftOf(parts.manifest, manifest, { product, channel, sequence }, { actor, nowMs: now })
  await context.blobs.put(view.sha256, streamOf(parts.manifest), { size: view.length })
  await recordBlob(context, view.sha256, view.length)
  return context.metadata.transaction([AUDIT_LOCK, BLOBS_LOCK, productLock(product)], async (records) => {
    // The key file of a scheduled release comes last: a publication asks for it.
    await requireBlobs(records, blobsOf(manifest, true), now)
    const { pinned_keys: pinnedKeys } = await readProduct(records, product)
    const old = await takenBy(records, view)
    if (old !== undefined) {
      await mergeSignatures(records, { release: old, parts, rule, pinnedKeys })
      return { created: false, view: old }
    }
    const { legacySignature: after } = parts
    if (after !== undefined)
      checkLegacySignature(pinnedKeys, { manifest: parts.manifest, before: undefined, after, isNew: true })
    await storeDraft(records, view, parts)
    for (const { keyId } of manifest.contentKeys)
      await contentKeys.insert(records, { key: contentKeyName(product, keyId), value: { first_ms: now } })
    await appendAudit(records, now, {
      actor,
      requestId,
      action: 'release.create',
      target: `${product}/${channel}/${view.version}`,
      facts: { sequence, sha256: view.sha256 },
    })
    return { created: true, view }
  })
}

function draftOf(
  bytes: Uint8Array,
  manifest: ReleaseManifest,
  place: ManifestPlace & { readonly product: string },
  { actor, nowMs }: { readonly actor: string; readonly nowMs: number },
): ReleaseView {
  return {
    ...place,
    version: manifest.version,
    sha256: sha256Hex(bytes),
    length: bytes.length,
    state: 'draft',
    pinned: false,
    files: manifest.files.length,
    bytes: manifest.files.reduce((sum, file) => sum + file.size, 0),
    notes: manifest.notes ?? '',
    created_at: timestamp(nowMs),
    created_by: actor,
    published_at: null,
  }
}

async function storeDraft(records: RecordWriter, view: ReleaseView, parts: ReleaseParts): Promise<void> {
  const { product, channel, version, sequence, sha256 } = view
  await versions.put(records, { key: `${product}/${channel}/${version}`, value: { sequence } })
  await manifestReleases.put(records, { key: sha256, value: { key: releaseKey(product, channel, sequence) } })
  await putRelease(records, view)
  await putSignatures(records, view, { envelope: parts.signatures, legacy: parts.legacySignature })
}

/**
 * Removes a draft that no head ever named; the next garbage collection removes blobs that nothing needs any more.
 *
 * @throws ServerError `SRV_NOT_FOUND`, `PUB_PUBLISHED`.
 */
export async function discardDraft(
  context: ServerContext,
  { product, channel, version }: Pick<ReleaseView, 'product' | 'channel' | 'version'>,
  caller: Caller,
): Promise<void> {
  const now = context.clock()
  await context.metadata.transaction([AUDIT_LOCK, productLock(product)], async (records) => {
    const release = await readRelease(records, product, channel, version)
    const { sequence, sha256, state, published_at: publishedAt } = release
    if (state !== 'draft' || publishedAt !== null || (await isNamed(records, { product, channel, sha256 })))
      throw new ServerError('PUB_PUBLISHED', `Release ${version} on channel ${channel} was published, so it stays`)
    const key = releaseKey(product, channel, sequence)
    await versions.delete(records, `${product}/${channel}/${version}`)
    await manifestReleases.delete(records, sha256)
    await signatureRecords.delete(records, key)
    await releases.delete(records, key)
    await appendAudit(records, now, {
      ...caller,
      action: 'release.discard',
      target: `${product}/${channel}/${version}`,
      facts: { sequence, sha256 },
    })
  })
}

/** Whether the head of its channel names a draft, as it does for one that is scheduled. */
async function isNamed(
  records: RecordReader,
  { product, channel, sha256 }: Pick<ReleaseView, 'product' | 'channel' | 'sha256'>,
): Promise<boolean> {
  const { manifest, fallback, preload } = (await readChannel(records, product, channel)) ?? {}
  return [manifest, fallback, preload].some((pointer) => pointer?.sha256 === sha256)
}

/** The release that already has these very bytes; throws when version or sequence belong to others. */
async function takenBy(records: RecordReader, view: ReleaseView): Promise<ReleaseView | undefined> {
  const { product, channel, version, sequence, sha256 } = view
  const known = await sequenceOf(records, product, channel, version)
  const atSequence = await releases.get(records, releaseKey(product, channel, sequence))
  if (known === undefined && atSequence === undefined) return undefined
  if (known === sequence && atSequence?.sha256 === sha256) return atSequence
  throw new ServerError(
    'PUB_TAKEN',
    `Version ${version} or sequence ${sequence} on channel "${channel}" is taken by another release`,
  )
}

/** The same release sent again: its signatures are kept as they are unless the new ones hold more keys. */
async function mergeSignatures(
  records: RecordWriter,
  {
    release,
    parts,
    rule,
    pinnedKeys,
  }: {
    readonly release: ReleaseView
    readonly parts: ReleaseParts
    readonly rule: SigningRule
    readonly pinnedKeys: readonly string[]
  },
): Promise<void> {
  const old = await readSignatures(records, release)
  const { manifest, legacySignature } = parts
  if (legacySignature !== undefined)
    checkLegacySignature(pinnedKeys, { manifest, before: old.legacy, after: legacySignature, isNew: false })
  const more = parseSignatures(parts.signatures).signatures.length > parseSignatures(old.envelope).signatures.length
  if (more || !verifies(manifest, old.envelope, rule))
    await putSignatures(records, release, { envelope: parts.signatures, legacy: legacySignature ?? old.legacy })
}

function verifies(manifest: Uint8Array, envelope: Uint8Array, rule: SigningRule): boolean {
  try {
    verifyManifestSignatures(manifest, envelope, rule)
    return true
  } catch (error) {
    if (error instanceof KeyturnError) return false
    throw error
  }
}

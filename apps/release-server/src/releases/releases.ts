import { timestamp } from '../time.ts'
import { parseManifest, parseSignatures, sha256Hex, verifyManifestSignatures } from '@keyturn/manifest'
import type { ManifestPin, ReleaseManifest, RoleDocument, SigningRule } from '@keyturn/manifest'
import { base64Decode, base64Encode } from '@keyturn/primitives'
import type { JsonObject } from '@keyturn/primitives'
import type { ReleaseView } from '@keyturn/release-client'
import { appendAudit, auditLock } from '../audit/audit.ts'
import { recordBlob, touchBlobs } from '../uploads/blobs.ts'
import type { Caller } from '../access/caller.ts'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import { maxManifestBytes } from '../limits.ts'
import { ListedError } from '../problem.ts'
import { productLock, rolesInForce } from './products.ts'
import { isVersion } from '../public/paths.ts'
import { collect, streamOf } from '../storage/hashing.ts'
import type { RecordReader, RecordWriter } from '../storage/metadata-store.ts'

/** Key of a release; sequences sort as numbers do. */
export function releaseKey(product: string, channel: string, sequence: number): string {
  return `${product}/${channel}/${String(sequence).padStart(16, '0')}`
}

/** Key of what is remembered of a content key. */
export function contentKeyName(product: string, keyId: number): string {
  return `${product}/${String(keyId).padStart(10, '0')}`
}

/** Hashes of all blobs that a release needs: files, indexes, the launcher. */
export function blobsOf(manifest: ReleaseManifest): string[] {
  const hashes = new Set<string>()
  for (const { sha256, index } of manifest.files) {
    hashes.add(sha256)
    if (index !== undefined) hashes.add(index.sha256)
  }
  if (manifest.launcher !== undefined) hashes.add(manifest.launcher.sha256)
  return [...hashes]
}

/** Who may sign releases now. */
export function releaseRule(roles: RoleDocument): SigningRule {
  return { ...roles.roles.release, revokedKeys: roles.revokedKeys }
}

/** Reads a release by version; `SRV_NOT_FOUND` when there is none on the channel. */
export async function readRelease(
  records: RecordReader,
  product: string,
  channel: string,
  version: string,
): Promise<ReleaseView> {
  const pointer = (await records.get('release-versions', `${product}/${channel}/${version}`))?.value as
    | { sequence: number }
    | undefined
  const found =
    pointer === undefined ? undefined : await records.get('releases', releaseKey(product, channel, pointer.sequence))
  if (found === undefined)
    throw new ServerError('SRV_NOT_FOUND', `There is no release ${version} on channel ${channel}`)
  return found.value as unknown as ReleaseView
}

/** Stores a release record. */
export async function putRelease(records: RecordWriter, release: ReleaseView): Promise<void> {
  await records.put('releases', {
    key: releaseKey(release.product, release.channel, release.sequence),
    value: release as unknown as JsonObject,
  })
}

/** Reads the literal bytes of a manifest, checked against its hash. */
export async function readManifestBytes(
  context: ServerContext,
  pin: Pick<ManifestPin, 'sha256' | 'length'>,
): Promise<Uint8Array> {
  const bytes = await collect(await context.blobs.read(pin.sha256), Math.min(pin.length, maxManifestBytes))
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
  const found = await records.get('release-signatures', releaseKey(release.product, release.channel, release.sequence))
  if (found?.body === undefined)
    throw new ServerError('SRV_STORAGE', `The signatures of release ${release.version} are gone`)
  const { legacy } = found.value as { legacy: string | null }
  return { envelope: found.body, legacy: legacy === null ? undefined : base64Decode(legacy) }
}

/** Stores the signatures of a release. */
export async function putSignatures(
  records: RecordWriter,
  release: ReleaseView,
  signatures: StoredSignatures,
): Promise<void> {
  await records.put('release-signatures', {
    key: releaseKey(release.product, release.channel, release.sequence),
    value: { legacy: signatures.legacy === undefined ? null : base64Encode(signatures.legacy) },
    body: signatures.envelope,
  })
}

/** Throws `PUB_MISSING_BLOBS` with the list unless the server holds everything; what it holds gets a fresh lease. */
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
    throw new ServerError('SRV_REQUEST', 'Cannot take this manifest: its version is no part of an address')
  if (manifest.product !== product)
    throw new ServerError('SRV_REQUEST', `Cannot take this manifest: it is about product "${manifest.product ?? ''}"`)
  if (channel === undefined || sequence === undefined)
    throw new ServerError('SRV_REQUEST', 'Cannot take this manifest: it names no channel or no sequence')
  return { channel, sequence }
}

/** What a new release is made of. */
export interface ReleaseParts {
  readonly manifest: Uint8Array
  readonly signatures: Uint8Array
  readonly legacySignature: Uint8Array | undefined
}

/**
 * Creates an immutable draft: the release role signed its literal bytes (checked before they are parsed), version and
 * sequence are free, all blobs are here.
 *
 * @throws ManifestError, ServerError `SRV_PRODUCT_TRUST`, `PUB_TAKEN`, `PUB_MISSING_BLOBS`.
 */
export async function createRelease(
  context: ServerContext,
  product: string,
  parts: ReleaseParts,
  caller: Caller,
  mayUse: (channel: string) => boolean,
): Promise<{ created: boolean; view: ReleaseView }> {
  const rule = releaseRule(await rolesInForce(context.metadata, product))
  verifyManifestSignatures(parts.manifest, parts.signatures, rule)
  const manifest = parseManifest(parts.manifest)
  const { channel, sequence } = placeOf(manifest, product)
  if (!mayUse(channel)) throw new ServerError('SRV_SCOPE', `The token may not use channel "${channel}"`)
  const now = context.clock()
  const view: ReleaseView = {
    product,
    channel,
    sequence,
    version: manifest.version,
    sha256: sha256Hex(parts.manifest),
    length: parts.manifest.length,
    state: 'draft',
    pinned: false,
    files: manifest.files.length,
    bytes: manifest.files.reduce((sum, file) => sum + file.size, 0),
    notes: manifest.notes ?? '',
    created_at: timestamp(now),
    created_by: caller.actor,
    published_at: null,
  }
  await context.blobs.put(view.sha256, streamOf(parts.manifest), { size: view.length })
  await recordBlob(context, view.sha256, view.length)
  return context.metadata.transaction([auditLock, 'blobs', productLock(product)], async (records) => {
    await requireBlobs(records, blobsOf(manifest), now)
    const old = await takenBy(records, view)
    if (old !== undefined) {
      await mergeSignatures(records, old, parts, rule)
      return { created: false, view: old }
    }
    await records.put('release-versions', { key: `${product}/${channel}/${view.version}`, value: { sequence } })
    await records.put('manifest-releases', { key: view.sha256, value: { key: releaseKey(product, channel, sequence) } })
    await noteContentKeys(records, product, manifest, now)
    await putRelease(records, view)
    await putSignatures(records, view, { envelope: parts.signatures, legacy: parts.legacySignature })
    await appendAudit(records, now, {
      ...caller,
      action: 'release.create',
      target: `${product}/${channel}/${view.version}`,
      facts: { sequence, sha256: view.sha256 },
    })
    return { created: true, view }
  })
}

/** Remembers when a content key was first seen: manifests tell which keys there are, not since when. */
async function noteContentKeys(
  records: RecordWriter,
  product: string,
  manifest: ReleaseManifest,
  now: number,
): Promise<void> {
  for (const { keyId } of manifest.contentKeys)
    await records.insert('content-keys', { key: contentKeyName(product, keyId), value: { first_ms: now } })
}

/** The release that already has these very bytes; throws when version or sequence belong to others. */
async function takenBy(records: RecordReader, view: ReleaseView): Promise<ReleaseView | undefined> {
  const { product, channel, version, sequence, sha256 } = view
  const pointer = (await records.get('release-versions', `${product}/${channel}/${version}`))?.value as
    | { sequence: number }
    | undefined
  const atSequence = (await records.get('releases', releaseKey(product, channel, sequence)))?.value as unknown as
    | ReleaseView
    | undefined
  if (pointer === undefined && atSequence === undefined) return undefined
  if (pointer?.sequence === sequence && atSequence?.sha256 === sha256) return atSequence
  throw new ServerError(
    'PUB_TAKEN',
    `Version ${version} or sequence ${sequence} on channel "${channel}" is taken by another release`,
  )
}

/** The same release sent again: its signatures are kept as they are unless the new ones hold more keys. */
async function mergeSignatures(
  records: RecordWriter,
  release: ReleaseView,
  parts: ReleaseParts,
  rule: SigningRule,
): Promise<void> {
  const old = await readSignatures(records, release)
  const more = parseSignatures(parts.signatures).signatures.length > parseSignatures(old.envelope).signatures.length
  const oldHolds = holds(() => verifyManifestSignatures(parts.manifest, old.envelope, rule))
  if (more || !oldHolds)
    await putSignatures(records, release, { envelope: parts.signatures, legacy: parts.legacySignature ?? old.legacy })
}

function holds(check: () => unknown): boolean {
  try {
    check()
    return true
  } catch {
    return false
  }
}

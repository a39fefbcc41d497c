import { timestamp } from '../time.ts'
import { parseHead, parseHeadEnvelope, parseManifest, verifyManifestSignatures } from '@keyturn/manifest'
import type { Head, ManifestPin, ReleaseManifest, TrustState, VerifiedAuthority } from '@keyturn/manifest'
import type { JsonObject } from '@keyturn/primitives'
import type { ChannelView, ManifestPointer, ReleaseView } from '@keyturn/release-client'
import { appendAudit, auditLock } from '../audit/audit.ts'
import type { Caller } from '../access/caller.ts'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import { ListedError } from '../problem.ts'
import { productLock, readProduct, rolesInForce, storeAuthority } from './products.ts'
import type { StoredProduct } from './products.ts'
import { documentKey, documentRecord } from '../public/documents.ts'
import {
  blobsOf,
  putRelease,
  putSignatures,
  readManifestBytes,
  readRelease,
  readSignatures,
  releaseRule,
  requireBlobs,
} from './releases.ts'
import type { StoredSignatures } from './releases.ts'
import type { RecordReader, RecordWriter } from '../storage/metadata-store.ts'
import { judge, judgeAuthority, readTrustState, refusal, storeTrustState } from './trust.ts'
import type { ProposedDocuments } from './trust.ts'

/** What is to become current. */
export interface PublishRequest {
  readonly product: string
  readonly channel: string
  readonly version: string
  readonly head: Uint8Array
  readonly ifHeadSequence: number | undefined
  readonly signatures: Uint8Array | undefined
  readonly log: Uint8Array | undefined
  readonly roles: ReadonlyMap<number, Uint8Array> | undefined
}

/** Reads a channel; `undefined` when nothing was ever published or asked for on it. */
export async function readChannel(
  records: RecordReader,
  product: string,
  channel: string,
): Promise<ChannelView | undefined> {
  return (await records.get('channels', `${product}/${channel}`))?.value as unknown as ChannelView | undefined
}

/** Stores a channel. */
export async function putChannel(records: RecordWriter, view: ChannelView): Promise<void> {
  await records.put('channels', { key: `${view.product}/${view.channel}`, value: view as unknown as JsonObject })
}

function pointer({ version, sequence, sha256, length }: ManifestPin): ManifestPointer {
  return { version, sequence, sha256, length }
}

function channelView(request: PublishRequest, head: Head, headSha256: string, now: number): ChannelView {
  return {
    product: request.product,
    channel: request.channel,
    manifest: pointer(head.manifest),
    head: { sequence: head.sequence, sha256: headSha256, issued_at: head.issuedAt, expires_at: head.expiresAt },
    fallback: head.fallback === undefined ? null : pointer(head.fallback),
    rollout: head.rollout === undefined ? null : { ...head.rollout },
    wanted: null,
    updated_at: timestamp(now),
  }
}

/**
 * Makes a head current, with the release it pins, in one transaction: readers see the old channel or the new one.
 * Everything is judged by `releaseSteps` first, both offers of the head, and every other channel that a new log or role
 * document touches.
 *
 * @throws ManifestError, KelError, ServerError `PUB_STALE`, `PUB_ROLLBACK`, `PUB_MISSING_BLOBS`, `PUB_UNKNOWN_RELEASE`,
 * `PUB_UNSEALED`, `PUB_WOULD_BREAK`.
 */
export async function publish(context: ServerContext, request: PublishRequest, caller: Caller): Promise<ChannelView> {
  const { product, channel } = request
  const release = await readRelease(context.metadata, product, channel, request.version)
  const manifest = await readManifestBytes(context, release)
  const now = context.clock()
  return context.metadata.transaction([auditLock, 'blobs', productLock(product)], async (records) => {
    const stored = await readProduct(records, product)
    await requireHead(records, request)
    const signatures = await chosenSignatures(records, release, request.signatures)
    const fallback = await readFallback(context, records, request)
    const proposed = {
      log: request.log,
      roles: request.roles,
      head: request.head,
      manifest,
      signatures: signatures.envelope,
      fallback:
        fallback === undefined ? undefined : { manifest: fallback.manifest, signatures: fallback.signatures.envelope },
    }
    const state = await readTrustState(records, product, stored.pin)
    const accepted = await requireAccepted(
      records,
      state,
      { product, pin: stored.pin, channel, nowMs: now },
      proposed,
      release,
    )
    const { head } = accepted
    if (head.manifest.sha256 !== release.sha256)
      throw new ServerError('PUB_UNKNOWN_RELEASE', `The head pins other bytes than release ${release.version} has`)
    await requireBlobs(records, [...blobsOf(accepted.manifest), release.sha256], now)
    if (head.fallback !== undefined)
      await requireFallback(records, stored, accepted.state, channel, head.fallback, proposed, fallback, now)
    if (request.log !== undefined)
      await requireOthersKeep(context, records, stored, accepted.state, proposed, now, channel)
    await storeAuthority(records, product, accepted.authority)
    await storeTrustState(records, product, accepted.state)
    await writeTree(records, release, manifest, signatures, request.head)
    await noteRelease(records, release, signatures, now)
    if (fallback !== undefined) await writeHistory(records, fallback.release, fallback.manifest, fallback.signatures)
    const view = channelView(request, head, accepted.state.channels[channel]?.headSha256 ?? '', now)
    await putChannel(records, view)
    await appendAudit(records, now, {
      ...caller,
      action: 'channel.publish',
      target: `${product}/${channel}`,
      facts: {
        version: release.version,
        sequence: release.sequence,
        head_sequence: head.sequence,
        percent: head.rollout?.percent ?? 100,
      },
    })
    await records.notify('documents', product)
    return view
  })
}

async function requireHead(records: RecordReader, { product, channel, ifHeadSequence }: PublishRequest): Promise<void> {
  if (ifHeadSequence === undefined) return
  const current = (await readChannel(records, product, channel))?.head?.sequence ?? 0
  if (current !== ifHeadSequence) {
    throw new ServerError(
      'PUB_STALE',
      `Channel "${channel}" is at head ${current}, the publisher looked at ${ifHeadSequence}`,
      { details: { head: current } },
    )
  }
}

async function chosenSignatures(
  records: RecordReader,
  release: ReleaseView,
  fresh: Uint8Array | undefined,
): Promise<StoredSignatures> {
  const old = await readSignatures(records, release)
  return fresh === undefined ? old : { envelope: fresh, legacy: old.legacy }
}

/** What publishing needs of an accepted head. */
interface AcceptedHead {
  readonly head: Head
  readonly state: TrustState
  readonly authority: VerifiedAuthority
  readonly manifest: ReleaseManifest
}

async function requireAccepted(
  records: RecordReader,
  state: TrustState,
  about: Parameters<typeof judge>[2],
  proposed: ProposedDocuments & { manifest: Uint8Array; signatures: Uint8Array },
  release: ReleaseView,
): Promise<AcceptedHead> {
  const decision = await judge(records, state, about, proposed)
  if (decision.outcome === 'refused') throw refusal(decision.error)
  const { head, authority } = decision
  if (head === undefined || authority === undefined) throw new TypeError('Cannot publish: accepted without a head')
  if (decision.outcome === 'accepted' && decision.offer === 'manifest')
    return { head, authority, state: decision.state, manifest: decision.manifest }
  // A halted head offers its fallback to whoever asks, so its release was not looked at; it was when it was first offered.
  if (head.rollout?.paused !== true || release.state !== 'published') {
    throw new ServerError(
      'PUB_ROLLBACK',
      `The head offers less than the channel has had: release ${head.manifest.version} was not offered before, or is older`,
    )
  }
  verifyManifestSignatures(proposed.manifest, proposed.signatures, releaseRule(authority.roles))
  return { head, authority, state: decision.state, manifest: parseManifest(proposed.manifest) }
}

interface FallbackRelease {
  readonly release: ReleaseView
  readonly manifest: Uint8Array
  readonly signatures: StoredSignatures
}

/** The release that a head, not yet verified, names as its fallback: it is only fetched here. */
async function readFallback(
  context: ServerContext,
  records: RecordReader,
  request: PublishRequest,
): Promise<FallbackRelease | undefined> {
  const pin = parseHead(parseHeadEnvelope(request.head).payload).fallback
  if (pin === undefined) return undefined
  const release = await readRelease(records, request.product, request.channel, pin.version).catch(() => undefined)
  if (release?.sha256 !== pin.sha256) {
    throw new ServerError(
      'PUB_UNKNOWN_RELEASE',
      `The fallback ${pin.version} of the head is not a release of this channel`,
    )
  }
  return {
    release,
    manifest: await readManifestBytes(context, release),
    signatures: await readSignatures(records, release),
  }
}

/** Those outside a rollout get the fallback: it has to be here, whole and rightly signed, too. */
async function requireFallback(
  records: RecordWriter,
  product: StoredProduct,
  state: TrustState,
  channel: string,
  pin: ManifestPin,
  proposed: ProposedDocuments,
  fallback: FallbackRelease | undefined,
  now: number,
): Promise<void> {
  if (fallback?.release.sha256 !== pin.sha256)
    throw new ServerError(
      'PUB_UNKNOWN_RELEASE',
      `The fallback ${pin.version} of the head is not a release of this channel`,
    )
  const about = { product: product.slug, pin: product.pin, channel, nowMs: now, cohort: 'out' as const }
  const decision = await judge(records, withoutManifestFloor(state, channel), about, proposed)
  if (decision.outcome === 'refused') throw refusal(decision.error)
  await requireBlobs(records, [...blobsOf(parseManifest(fallback.manifest)), fallback.release.sha256], now)
}

/** For a launcher that stayed behind the fallback is no step back; the floor of the offer must not hide its faults. */
function withoutManifestFloor(state: TrustState, channel: string): TrustState {
  const { [channel]: _own, ...others } = state.channels
  return { ...state, channels: others }
}

/**
 * A new log or role document must leave every other channel installable, unless it already was not: withdrawing a key
 * is done together with signing again.
 */
async function requireOthersKeep(
  context: ServerContext,
  records: RecordReader,
  product: StoredProduct,
  state: TrustState,
  proposed: ProposedDocuments,
  now: number,
  except?: string,
): Promise<void> {
  const broken: string[] = []
  const channels = await records.list('channels', { prefix: `${product.slug}/` })
  for (const { value } of channels) {
    const { channel, manifest: pin } = value as unknown as ChannelView
    if (channel === except || pin === null) continue
    const release = await readRelease(records, product.slug, channel, pin.version)
    const manifest = await readManifestBytes(context, release)
    const { envelope } = await readSignatures(records, release)
    const about = { product: product.slug, pin: product.pin, channel, nowMs: now }
    const before = await judge(records, await readTrustState(records, product.slug, product.pin), about, {
      manifest,
      signatures: envelope,
    })
    const after = await judge(records, state, about, {
      log: proposed.log,
      roles: proposed.roles,
      manifest,
      signatures: envelope,
    })
    if (before.outcome !== 'refused' && after.outcome === 'refused') broken.push(`${channel}: ${after.error.code}`)
  }
  if (broken.length > 0)
    throw new ListedError(
      'PUB_WOULD_BREAK',
      `The new log would leave channels without valid signatures: ${broken.join(', ')}`,
      broken,
    )
}

/** Files of one release in the history of its channel. */
async function writeHistory(
  records: RecordWriter,
  release: ReleaseView,
  manifest: Uint8Array,
  signatures: StoredSignatures,
): Promise<void> {
  const { product, channel, version } = release
  const at = (name: string): string => documentKey(product, channel, name)
  await records.put(
    'documents',
    documentRecord(at(`manifests/${version}.json`), manifest),
    documentRecord(at(`manifests/${version}.sigs.json`), signatures.envelope),
  )
  if (signatures.legacy !== undefined)
    await records.put('documents', documentRecord(at(`manifests/${version}.json.sig`), signatures.legacy))
}

/** The whole public face of a channel; one transaction, so the order within it shows to nobody. */
async function writeTree(
  records: RecordWriter,
  release: ReleaseView,
  manifest: Uint8Array,
  signatures: StoredSignatures,
  head: Uint8Array,
): Promise<void> {
  await writeHistory(records, release, manifest, signatures)
  const at = (name: string): string => documentKey(release.product, release.channel, name)
  await records.put(
    'documents',
    documentRecord(at('manifest.sigs.json'), signatures.envelope),
    documentRecord(at('manifest.json'), manifest),
  )
  if (signatures.legacy === undefined) await records.delete('documents', at('manifest.json.sig'))
  else await records.put('documents', documentRecord(at('manifest.json.sig'), signatures.legacy))
  await records.put('documents', documentRecord(at('head.json'), head))
}

async function noteRelease(
  records: RecordWriter,
  release: ReleaseView,
  signatures: StoredSignatures,
  now: number,
): Promise<void> {
  await putRelease(records, { ...release, state: 'published', published_at: release.published_at ?? timestamp(now) })
  await putSignatures(records, release, signatures)
}

/**
 * Takes a longer key event log together with the role document it seals.
 *
 * @param force - Let channels lose their valid signatures: for a stolen key, when signing again has to wait.
 */
export async function replaceLog(
  context: ServerContext,
  product: string,
  log: Uint8Array,
  force: boolean,
  caller: Caller,
): Promise<void> {
  const now = context.clock()
  await context.metadata.transaction([auditLock, productLock(product)], async (records) => {
    const stored = await readProduct(records, product)
    const state = await readTrustState(records, product, stored.pin)
    const judged = await judgeAuthority(
      records,
      state,
      { product, pin: stored.pin, channel: stored.default_channel, nowMs: now },
      { log },
    )
    if (!force) await requireOthersKeep(context, records, stored, judged.state, { log }, now)
    await storeAuthority(records, product, judged.authority)
    await storeTrustState(records, product, judged.state)
    await appendAudit(records, now, {
      ...caller,
      action: 'log.replace',
      target: product,
      facts: {
        sn: judged.state.log?.sn ?? 0,
        said: judged.state.log?.said ?? '',
        roles: judged.authority.roles.version,
        forced: force,
      },
    })
    await records.notify('documents', product)
    await records.notify('products', product)
  })
}

/** Renews the signatures of a release: the same bytes, signed again after a turn; nothing is downloaded for it. */
export async function renewSignatures(
  context: ServerContext,
  product: string,
  channel: string,
  version: string,
  fresh: { envelope: Uint8Array; legacy: Uint8Array | undefined },
  caller: Caller,
): Promise<ReleaseView> {
  const release = await readRelease(context.metadata, product, channel, version)
  const manifest = await readManifestBytes(context, release)
  const now = context.clock()
  await context.metadata.transaction([auditLock, productLock(product)], async (records) => {
    verifyManifestSignatures(manifest, fresh.envelope, releaseRule(await rolesInForce(records, product)))
    const old = await readSignatures(records, release)
    const signatures = { envelope: fresh.envelope, legacy: fresh.legacy ?? old.legacy }
    await putSignatures(records, release, signatures)
    const current = (await readChannel(records, product, channel))?.manifest?.sha256 === release.sha256
    if (release.state !== 'draft') await writeHistory(records, release, manifest, signatures)
    if (current) {
      const at = (name: string): string => documentKey(product, channel, name)
      await records.put('documents', documentRecord(at('manifest.sigs.json'), signatures.envelope))
      if (signatures.legacy !== undefined)
        await records.put('documents', documentRecord(at('manifest.json.sig'), signatures.legacy))
    }
    await appendAudit(records, now, { ...caller, action: 'release.sign', target: `${product}/${channel}/${version}` })
    await records.notify('documents', product)
  })
  return release
}

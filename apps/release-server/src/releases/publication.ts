import { parseManifest, verifyManifestSignatures } from '@keyturn/manifest'
import type { Head, ManifestPin, ReleaseManifest, TrustState, VerifiedAuthority } from '@keyturn/manifest'
import type { ChannelView, ReleaseView } from '@keyturn/release-client'
import type { Caller } from '../access/caller.ts'
import { appendAudit, AUDIT_LOCK } from '../audit/audit.ts'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import type { RecordWriter } from '../storage/metadata-store.ts'
import { timestamp } from '../time.ts'
import { BLOBS_LOCK } from '../uploads/blobs.ts'
import { requireOthersKeep } from './authority.ts'
import { channelAt, putChannel, readChannel } from './channels.ts'
import { productLock, readProduct, storeAuthority } from './products.ts'
import type { StoredProduct } from './products.ts'
import {
  blobsOf,
  findRelease,
  putRelease,
  putSignatures,
  readManifestBytes,
  readRelease,
  readSignatures,
  releaseRule,
  requireBlobs,
} from './releases.ts'
import { readTrustState, refusal, storeTrustState, verifyOffer } from './trust.ts'
import type { ProposedDocuments, Subject } from './trust.ts'
import { writeHistory, writeTree } from './write-tree.ts'
import type { WholeRelease } from './write-tree.ts'

/** What is to become current. */
export interface PublishRequest {
  readonly product: string
  readonly channel: string
  readonly version: string
  readonly head: Uint8Array
  readonly ifHeadSequence?: number | undefined
  readonly signatures?: Uint8Array | undefined
  readonly log?: Uint8Array | undefined
  readonly roles?: ReadonlyMap<number, Uint8Array> | undefined
}

/** What was verified of a publication. */
interface AcceptedHead {
  readonly head: Head
  readonly state: TrustState
  readonly authority: VerifiedAuthority
  readonly manifest: ReleaseManifest
}

/** What a publication is verified against: read before anything in the request is trusted. */
interface Ground {
  readonly product: StoredProduct
  readonly state: TrustState
  /** The release with the signatures it will have. */
  readonly whole: WholeRelease
  readonly nowMs: number
}

/**
 * One publication, inside its transaction. Documents are verified in the order of a launcher: log, role document, head,
 * and only then what the head pins is looked up. Nothing is written before all of it is accepted.
 */
class Publication {
  readonly #context: ServerContext
  readonly #records: RecordWriter
  readonly #request: PublishRequest
  readonly #ground: Ground
  /** The release that the verified head falls back to, once it was asked for. */
  #fallback: WholeRelease | undefined
  /** The release that the verified head lets launchers fetch ahead. */
  #preload: WholeRelease | undefined

  constructor(context: ServerContext, records: RecordWriter, request: PublishRequest, ground: Ground) {
    this.#context = context
    this.#records = records
    this.#request = request
    this.#ground = ground
  }

  async run(caller: Caller): Promise<ChannelView> {
    await this.#requireHeadSequence()
    const accepted = await this.#acceptHead()
    await this.#requireRelease(accepted)
    if (accepted.head.fallback !== undefined) await this.#requireFallback(accepted.state)
    if (accepted.head.preload !== undefined) await this.#requirePreload(accepted, accepted.head.preload)
    if (this.#request.log !== undefined) await this.#requireOthersKeep(accepted.state)
    return this.#write(accepted, caller)
  }

  get #subject(): Subject {
    const { product, nowMs } = this.#ground
    return { product: product.slug, pin: product.pin, channel: this.#request.channel, nowMs }
  }

  get #proposed(): ProposedDocuments {
    const { log, roles, head } = this.#request
    const { manifest, signatures } = this.#ground.whole
    return {
      log,
      roles,
      head,
      manifest,
      signatures: signatures.envelope,
      fallback: async (pin) => {
        const found = await this.#findFallback(pin)
        return { manifest: found.manifest, signatures: found.signatures.envelope }
      },
    }
  }

  async #requireHeadSequence(): Promise<void> {
    const { product, channel, ifHeadSequence } = this.#request
    if (ifHeadSequence === undefined) return
    const current = (await readChannel(this.#records, product, channel))?.head?.sequence ?? 0
    if (current === ifHeadSequence) return
    throw new ServerError('PUB_STALE', `Channel "${channel}" is at head ${current}, expected ${ifHeadSequence}`, {
      details: { head: current },
    })
  }

  async #acceptHead(): Promise<AcceptedHead> {
    const { state, whole } = this.#ground
    const decision = await verifyOffer(this.#records, state, this.#subject, this.#proposed)
    if (decision.outcome === 'refused') throw refusal(decision.error)
    const { head, authority } = decision
    if (head === undefined || authority === undefined) throw new TypeError('Cannot publish: accepted without a head')
    if (decision.outcome === 'accepted' && decision.offer === 'manifest')
      return { head, authority, state: decision.state, manifest: decision.manifest }
    // A halted head offers its fallback to everybody who asks, so its release was not looked at now; it was when it was
    // first offered.
    if (head.rollout?.paused !== true || whole.release.state !== 'published') {
      throw new ServerError(
        'PUB_ROLLBACK',
        `The head would roll the channel back: release ${head.manifest.version} was not offered before, or is older`,
      )
    }
    const rule = await releaseRule(this.#records, whole.release.product, authority.roles)
    verifyManifestSignatures(whole.manifest, whole.signatures.envelope, rule)
    return { head, authority, state: decision.state, manifest: parseManifest(whole.manifest) }
  }

  async #requireRelease({ head, manifest }: AcceptedHead): Promise<void> {
    const { release } = this.#ground.whole
    if (head.manifest.sha256 !== release.sha256)
      throw new ServerError('PUB_UNKNOWN_RELEASE', `The head pins other bytes than release ${release.version} has`)
    await requireBlobs(this.#records, [...blobsOf(manifest), release.sha256], this.#ground.nowMs)
  }

  /** Finds the release that a verified head pins as its fallback. A storage that fails is not the caller's fault. */
  async #findFallback(pin: ManifestPin): Promise<WholeRelease> {
    if (this.#fallback?.release.sha256 === pin.sha256) return this.#fallback
    const { product, channel } = this.#request
    const release = await findRelease(this.#records, product, channel, pin.version)
    if (release?.sha256 !== pin.sha256)
      throw new ServerError(
        'PUB_UNKNOWN_RELEASE',
        `The fallback ${pin.version} of the head is not a release of this channel`,
      )
    this.#fallback = {
      release,
      manifest: await readManifestBytes(this.#context, release),
      signatures: await readSignatures(this.#records, release),
    }
    return this.#fallback
  }

  /** Players outside a rollout get the fallback: it has to be stored, whole and rightly signed, too. */
  async #requireFallback(state: TrustState): Promise<void> {
    const { channel } = this.#request
    const decision = await verifyOffer(
      this.#records,
      withoutManifestFloor(state, channel),
      { ...this.#subject, cohort: 'out' },
      this.#proposed,
    )
    if (decision.outcome === 'refused') throw refusal(decision.error)
    if (this.#fallback === undefined) throw new TypeError('Cannot publish: the fallback was accepted unseen')
    const { manifest, release } = this.#fallback
    await requireBlobs(this.#records, [...blobsOf(parseManifest(manifest)), release.sha256], this.#ground.nowMs)
  }

  /**
   * Launchers fetch the scheduled release from now on: all of it has to be stored and rightly signed but its key, which
   * the publisher keeps until its time.
   */
  async #requirePreload({ authority }: AcceptedHead, pin: ManifestPin): Promise<void> {
    const { product, channel } = this.#request
    const release = await findRelease(this.#records, product, channel, pin.version)
    if (release?.sha256 !== pin.sha256)
      throw new ServerError(
        'PUB_UNKNOWN_RELEASE',
        `The scheduled release ${pin.version} of the head is not a release of this channel`,
      )
    const manifest = await readManifestBytes(this.#context, release)
    const signatures = await readSignatures(this.#records, release)
    const rule = await releaseRule(this.#records, product, authority.roles)
    verifyManifestSignatures(manifest, signatures.envelope, rule)
    const parsed = parseManifest(manifest)
    if (parsed.epoch !== authority.roles.epoch || parsed.sequence !== pin.sequence)
      throw new ServerError('PUB_UNKNOWN_RELEASE', `The scheduled release ${pin.version} is not the one the head pins`)
    await requireBlobs(this.#records, [...blobsOf(parsed, true), release.sha256], this.#ground.nowMs)
    this.#preload = { release, manifest, signatures }
  }

  async #requireOthersKeep(state: TrustState): Promise<void> {
    const { log, roles, channel } = this.#request
    const { product, nowMs } = this.#ground
    await requireOthersKeep(this.#context, this.#records, {
      product,
      state,
      proposed: { log, roles },
      nowMs,
      except: channel,
    })
  }

  /** What a step back stepped over was given up: a halt leaves players with what was brought back. */
  async #steppedBackTo({ rollbackOf }: ReleaseManifest): Promise<Pick<ChannelView, 'before'> | undefined> {
    if (rollbackOf === undefined) return undefined
    const { product, channel } = this.#request
    const target = await findRelease(this.#records, product, channel, rollbackOf)
    if (target?.state !== 'published') return undefined
    const { version, sequence, sha256, length } = target
    return { before: { version, sequence, sha256, length } }
  }

  async #write({ head, authority, state, manifest }: AcceptedHead, caller: Caller): Promise<ChannelView> {
    const { product, channel } = this.#request
    const { whole, nowMs } = this.#ground
    const { release, signatures } = whole
    const records = this.#records
    await storeAuthority(records, product, authority)
    await storeTrustState(records, product, state)
    await writeTree(records, whole, this.#request.head)
    await putRelease(records, published(release, nowMs))
    await putSignatures(records, release, signatures)
    if (head.fallback !== undefined && this.#fallback !== undefined) await writeHistory(records, this.#fallback)
    if (this.#preload !== undefined) await writeHistory(records, this.#preload)
    const earlier = await readChannel(records, product, channel)
    const before = head.fallback === undefined ? await this.#steppedBackTo(manifest) : undefined
    const view = { ...channelAt(earlier, head, state.channels[channel]?.headSha256 ?? '', nowMs), ...before }
    await putChannel(records, view)
    await appendAudit(records, nowMs, {
      ...caller,
      action: 'channel.publish',
      target: `${product}/${channel}`,
      facts: {
        version: release.version,
        sequence: release.sequence,
        head_sequence: head.sequence,
        percent: head.rollout?.percent ?? 100,
        ...(head.preload === undefined ? {} : { scheduled: head.preload.version, scheduled_at: head.preload.at }),
      },
    })
    await records.notify('documents', product)
    return view
  }
}

function published(release: ReleaseView, nowMs: number): ReleaseView {
  return { ...release, state: 'published', published_at: release.published_at ?? timestamp(nowMs) }
}

/**
 * For a launcher that stayed behind, the fallback is not a step back; the floor of the offer must not hide its faults.
 */
function withoutManifestFloor(state: TrustState, channel: string): TrustState {
  const { [channel]: _own, ...others } = state.channels
  return { ...state, channels: others }
}

/**
 * Makes a head current, with the release it pins, in one transaction: readers see the old channel or the new one.
 * `releaseSteps` decides first, about both offers of the head and every other channel that a new log or role document
 * touches.
 *
 * @throws ManifestError, KelError, ServerError `PUB_STALE`, `PUB_ROLLBACK`, `PUB_MISSING_BLOBS`, `PUB_UNKNOWN_RELEASE`,
 * `PUB_UNSEALED`, `PUB_WOULD_BREAK`.
 */
export async function publish(context: ServerContext, request: PublishRequest, caller: Caller): Promise<ChannelView> {
  const { product: slug, channel, version, signatures: renewed } = request
  const release = await readRelease(context.metadata, slug, channel, version)
  const manifest = await readManifestBytes(context, release)
  const nowMs = context.clock()
  return context.metadata.transaction([AUDIT_LOCK, BLOBS_LOCK, productLock(slug)], async (records) => {
    const product = await readProduct(records, slug)
    const stored = await readSignatures(records, release)
    const signatures = renewed === undefined ? stored : { envelope: renewed, legacy: stored.legacy }
    const state = await readTrustState(records, slug, product.pin)
    const ground = { product, state, whole: { release, manifest, signatures }, nowMs }
    return new Publication(context, records, request, ground).run(caller)
  })
}

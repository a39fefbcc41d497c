import { canonicalJson, equalBytes, printable, sha256Hex } from '@keyturn/primitives'
import type { JsonObject } from '@keyturn/primitives'
import { floorOf, parseHead, parseHeadEnvelope, parseTime, releaseSteps } from '@keyturn/manifest'
import { signHead, writeHead } from '@keyturn/manifest/publish'
import type { DocumentRequest, Head, ManifestPin, ReleaseDecision, TrustState } from '@keyturn/manifest'
import type { DocumentSigner } from '@keyturn/manifest/publish'
import { ServerError } from '../errors.ts'
import { loadSignerState, MAX_OFFERED, saveSignerState } from './state.ts'
import type { SignerPlace, SignerState } from './state.ts'

/** What decides which heads are signed. */
export interface SigningOptions {
  /** Holds the head key; or signs a payload and returns `head.json`, for a key that is opened for each signature. */
  readonly signer: DocumentSigner | ((payload: Uint8Array) => Promise<Uint8Array>)
  /** The pin of the identity, so that the signer does not have to trust the server. */
  readonly pin: string
  /** Reads a file of the public tree, such as `/p/metin2/roles/1.json`; `undefined` when there is none. */
  readonly fetchPublic: (path: string) => Promise<Uint8Array | undefined>
  /** `auto` signs what passes; `confirm` asks a person first, except to renew. Default `confirm`. */
  readonly mode?: 'auto' | 'confirm' | undefined
  /**
   * Asks a person: in `confirm`, and in both modes before a head names a release that was not offered on its channel
   * yet. Without it, such a head is refused.
   */
  readonly confirm?: ((summary: string) => Promise<boolean>) | undefined
  readonly clock?: (() => number) | undefined
  /** Folder, kept across restarts, of what was accepted and signed on each channel. */
  readonly state: string
  /** Days after the publisher's last head for which heads are still signed; default 90. */
  readonly renewalDays?: number | undefined
}

/** Default of {@link SigningOptions.renewalDays}: as long as a head key is in use before it is due. */
export const DEFAULT_RENEWAL_DAYS = 90

const DAY_MS = 86_400_000
/** A head that the signer makes lasts no longer than this, or than the publisher's own head where that lasts longer. */
const LONGEST_LIFE_MS = 7 * DAY_MS

/** The members of a head that are compared, in one form. */
function canonicalHead(members: object): string {
  return canonicalJson(members as JsonObject)
}

/** What a wanted head changes, from the least to the most. */
type HeadStep = 'renewal' | 'rollout' | 'release'

/** Members that no request of a server may change. */
function fixedMembers({
  sequence: _sequence,
  issuedAt: _issued,
  expiresAt: _expires,
  rollout: _rollout,
  fallback: _fallback,
  manifest: _manifest,
  ...rest
}: Head): string {
  return canonicalHead(rest)
}

const isSame = (a: ManifestPin | undefined, b: ManifestPin | undefined): boolean => a?.sha256 === b?.sha256

/**
 * Says what changes between the head in force and the wanted one; `undefined` when it is something that only the
 * publisher may change. Where the head in force names no fallback, a halt needs one: it has to be a release that this
 * signer saw offered to everybody.
 */
function stepBetween(current: Head, wanted: Head, { offered = [] }: SignerState): HeadStep | undefined {
  if (fixedMembers(current) !== fixedMembers(wanted) || wanted.sequence !== current.sequence + 1) return undefined
  if (lifeOf(wanted) > Math.max(LONGEST_LIFE_MS, lifeOf(current))) return undefined
  const wasOffered = (pin: ManifestPin): boolean => offered.some(({ sha256 }) => sha256 === pin.sha256)
  if (!isSame(current.manifest, wanted.manifest)) return 'release'
  const { fallback } = wanted
  if (!isSame(current.fallback, fallback)) {
    if (current.fallback !== undefined || fallback === undefined || !wasOffered(fallback)) return undefined
    if (fallback.sequence >= wanted.manifest.sequence) return undefined
  }
  return canonicalHead({ ...current.rollout }) === canonicalHead({ ...wanted.rollout }) ? 'renewal' : 'rollout'
}

function lifeOf({ issuedAt, expiresAt }: Head): number {
  return (parseTime(expiresAt) ?? 0) - (parseTime(issuedAt) ?? 0)
}

function pathOf(product: string, request: DocumentRequest): string {
  const root = `/p/${product}`
  switch (request.document) {
    case 'log':
      return `${root}/kel/${request.prefix}.cesr`
    case 'roles':
      return `${root}/roles/${request.version}.json`
    case 'kills':
      return `${root}/kills.json`
    case 'head':
      return `${root}/channels/${request.channel}/head.json`
    case 'manifest':
      return `${root}/channels/${request.channel}/manifests/${request.pin?.version ?? ''}.json`
    case 'signatures':
      return `${root}/channels/${request.channel}/manifests/${request.pin.version}.sigs.json`
    case 'proof':
      return `${root}/channels/${request.channel}/manifests/${request.pin.version}.tlog-proof`
    case 'legacy-signature':
      return `${root}/channels/${request.channel}/manifest.json.sig`
  }
}

/** Verifies the public tree as a launcher would, with another head in its place where one is given. */
async function verifyTree(
  options: SigningOptions,
  about: Pick<Head, 'product' | 'channel'>,
  state: TrustState,
  { head, nowMs = nowOf(options) }: { readonly head?: Uint8Array; readonly nowMs?: number } = {},
): Promise<ReleaseDecision> {
  const { product, channel } = about
  const steps = releaseSteps(state, { channel, product, nowMs, withoutLog: true })
  let step = steps.next()
  while (step.done !== true) {
    const request = step.value
    step = steps.next(
      head !== undefined && request.document === 'head' ? head : await options.fetchPublic(pathOf(product, request)),
    )
  }
  return step.value
}

const nowOf = ({ clock = Date.now }: SigningOptions): number => clock()

/** What a channel shows, and whether its head has expired since this signer knew it. */
interface Shown {
  readonly decision: ReleaseDecision
  readonly hasExpired: boolean
}

/**
 * Verifies what a channel shows. A head that has expired counts only if it is the very one that this signer accepted or
 * signed last: then nothing newer was hidden from it that it ever saw, and repeating the offer says nothing new. An
 * expired head that it does not know may be an old one that somebody puts in the place of a newer one.
 */
async function verifyShown(options: SigningOptions, place: SignerPlace, stored: SignerState): Promise<Shown> {
  const decision = await verifyTree(options, place, stored.trust)
  if (decision.outcome !== 'refused' || decision.error.code !== 'MAN_EXPIRED') return { decision, hasExpired: false }
  const { product, channel } = place
  const bytes = await options.fetchPublic(`/p/${product}/channels/${channel}/head.json`)
  if (bytes === undefined) return { decision, hasExpired: false }
  const { payload } = parseHeadEnvelope(bytes)
  const sha256 = sha256Hex(payload)
  const isKnown = floorOf(stored.trust, channel).headSha256 === sha256 || stored.signed?.sha256 === sha256
  const endMs = parseTime(parseHead(payload).expiresAt) ?? 0
  if (!isKnown || endMs > nowOf(options)) return { decision, hasExpired: false }
  return { decision: await verifyTree(options, place, stored.trust, { nowMs: endMs - 1000 }), hasExpired: true }
}

/** The releases that everybody was offered, newest last. */
function withOffered(offered: readonly ManifestPin[], current: Head): readonly ManifestPin[] {
  const toAll = current.rollout === undefined ? current.manifest : current.fallback
  if (toAll === undefined) return offered
  return [...offered.filter((pin) => !isSame(pin, toAll)), toAll].slice(-MAX_OFFERED)
}

/** What the tree shows, joined to what is remembered; a head that is not the signer's own is the publisher's. */
function withShown(state: SignerState, current: Head, trust: TrustState): SignerState {
  const sha256 = sha256Hex(writeHead(current))
  const floor = floorOf(state.trust, current.channel)
  const known = state.publisherMs !== undefined && (floor.headSha256 === sha256 || state.signed?.sha256 === sha256)
  const {
    epoch,
    manifest: { sequence },
  } = current
  if (state.manifest?.epoch === epoch && sequence < state.manifest.sequence) {
    throw new ServerError(
      'SRV_HEAD_NEEDED',
      `The head pins manifest ${sequence}, but manifest ${state.manifest.sequence} was in force already`,
    )
  }
  return {
    ...state,
    trust,
    offered: withOffered(state.offered ?? [], current),
    manifest: { epoch, sequence },
    publisherMs: known ? state.publisherMs : Date.parse(current.issuedAt),
  }
}

/** A head that was signed and never published: it may be returned again; another one at its sequence never. */
function signedBefore({ signed }: SignerState, wanted: Head): Uint8Array | undefined {
  if (signed === undefined) return undefined
  const head = parseHead(parseHeadEnvelope(signed.head).payload)
  if (head.epoch !== wanted.epoch || head.sequence !== wanted.sequence) return undefined
  const timeless = ({ issuedAt: _issued, expiresAt: _expires, ...rest }: Head): string => canonicalHead(rest)
  if (timeless(head) === timeless(wanted)) return signed.head
  throw new ServerError(
    'SRV_HEAD_NEEDED',
    `Head ${signed.sequence} was signed with another rollout and not published: ask for that one ` +
      'again, or publish a head',
  )
}

function summaryOf(wanted: Head, reason: string): string {
  const { product, channel, manifest, rollout, sequence } = wanted
  const release = `release ${printable(manifest.version, 128)} (manifest ${manifest.sequence})`
  const share = `rollout ${rollout?.percent ?? 100} %${rollout?.paused === true ? ', halted' : ''}`
  return `Reason given: ${printable(reason, 200)}\n${product}/${channel}: head ${sequence}, ${release}, ${share}`
}

function requireFreshPublisher(options: SigningOptions, { publisherMs = 0 }: SignerState): void {
  const days = options.renewalDays ?? DEFAULT_RENEWAL_DAYS
  if (nowOf(options) - publisherMs > days * 86_400_000) {
    throw new ServerError(
      'SRV_HEAD_NEEDED',
      `The publisher's last head is more than ${days} days old: publish a head first`,
    )
  }
}

/** Verifies what a channel shows now and remembers it durably. */
async function lookAt(
  options: SigningOptions,
  place: SignerPlace,
): Promise<{ readonly current: Head; readonly state: SignerState; readonly hasExpired: boolean }> {
  const stored = await loadSignerState(place)
  const { decision: before, hasExpired } = await verifyShown(options, place, stored)
  if (before.outcome === 'refused') throw before.error
  if (before.head === undefined) throw new ServerError('SRV_HEAD_NEEDED', 'The channel has no head: publish one first')
  const state = withShown(stored, before.head, before.state)
  await saveSignerState(place, state)
  return { current: before.head, state, hasExpired }
}

/**
 * Looks at a channel, so that what it offers now counts as offered later.
 *
 * @throws ManifestError, ServerError `SRV_HEAD_NEEDED`, `SRV_STORAGE`.
 */
export async function watchChannel(options: SigningOptions, product: string, channel: string): Promise<void> {
  await lookAt(options, { folder: options.state, product, channel, pin: options.pin })
}

async function mayStep(options: SigningOptions, step: HeadStep, summary: () => string): Promise<boolean> {
  if (step === 'release') {
    if (options.confirm === undefined)
      throw new ServerError(
        'SRV_HEAD_NEEDED',
        'The head names a release that was not offered on this channel yet, and nobody is there to ' +
          'confirm it: publish a head',
      )
    return options.confirm(summary())
  }
  if (step === 'renewal' || options.mode === 'auto') return true
  return (await options.confirm?.(summary())) === true
}

/**
 * Verifies and signs one head: it must be the current head of its channel with another rollout or another date, and
 * once signed it must pass the verification of a release with what the public tree holds. The tree is verified against
 * what was accepted before, and what is accepted now is stored durably before a signature is returned. A head that
 * names a release that was not offered on its channel yet is signed only after a person confirmed it. One call at a
 * time.
 *
 * @returns The envelope; `undefined` when a person did not confirm.
 * @throws ManifestError, ServerError `SRV_HEAD_NEEDED`, `SRV_STORAGE`.
 */
export async function signWantedHead(
  options: SigningOptions,
  payload: Uint8Array,
  reason: string,
): Promise<Uint8Array | undefined> {
  const wanted = parseHead(payload)
  // Its own heads are recognized by the hash of their one form.
  if (!equalBytes(writeHead(wanted), payload))
    throw new ServerError('SRV_REQUEST', 'The head is not in the form that a head is written in')
  const { product, channel } = wanted
  const place = { folder: options.state, product, channel, pin: options.pin }
  const { current, state, hasExpired } = await lookAt(options, place)
  const step = stepBetween(current, wanted, state)
  if (step === undefined)
    throw new ServerError(
      'SRV_HEAD_NEEDED',
      'Only the rollout of the current head may change; anything else needs a head from the publisher',
    )
  if (hasExpired && step !== 'renewal')
    throw new ServerError('SRV_HEAD_NEEDED', 'The head has expired: it is only repeated, with the offer as it is')
  requireFreshPublisher(options, state)
  const again = signedBefore(state, wanted)
  if (again !== undefined) return again
  if (!(await mayStep(options, step, () => summaryOf(wanted, reason)))) return undefined
  const { signer } = options
  const head = typeof signer === 'function' ? await signer(payload) : await signHead(payload, [signer])
  const after = await verifyTree(options, place, state.trust, { head })
  if (after.outcome === 'refused') throw after.error
  await saveSignerState(place, { ...state, signed: { sequence: wanted.sequence, sha256: sha256Hex(payload), head } })
  return head
}

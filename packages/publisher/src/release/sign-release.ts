import { join } from 'node:path'
import { limits } from '@keyturn/manifest'
import { manifestPin, signHead, signManifest, writeHead } from '@keyturn/manifest/publish'
import type { Head, ManifestPin, RoleDocument, Rollout } from '@keyturn/manifest'
import { hexEncode } from '@keyturn/primitives'
import { writeFileAtomic } from '@keyturn/primitives/node'
import { PublisherError } from '../errors.ts'
import type { HomeSession } from '../home-session.ts'
import { readPublishedHead, readStoredHead, readWaitingHead, storeHead } from '../records/heads.ts'
import type { Offer, StoredHead } from '../records/heads.ts'
import { refuseKilled } from './kill.ts'
import { readIdentityLog, releaseFiles, rolesInForce } from '../records/store.ts'
import type { StoredRelease } from '../records/store.ts'
import { daysFrom } from '../time.ts'

/**
 * Signs the literal bytes of a manifest with release keys of the home; signatures that are there already stay.
 *
 * @param home - Open home.
 * @param release - From `prepareRelease` or `findRelease`.
 * @param aliases - Keys that sign; default: those of `roleAliases`.
 */
export async function signRelease(
  home: HomeSession,
  release: StoredRelease,
  aliases?: readonly string[],
): Promise<StoredRelease> {
  const keys = await home.keys()
  const signing = aliases ?? (await roleAliases(home, 'release'))
  const signers = await Promise.all(signing.map((alias) => keys.documentSigner(alias)))
  await refuseKilled(home.paths, signers)
  const signatures = await signManifest(release.bytes, signers, release.signatures)
  await writeFileAtomic(join(release.folder, releaseFiles.signatures), signatures)
  return { ...release, signatures }
}

/**
 * The keys of this home that sign for a role: its own first, then others of the role that its keystore has, as many
 *   as the
 * role document in force wants. Where other people hold keys of the role, fewer.
 *
 * @param home - Open home; asks for the passphrase.
 */
export async function roleAliases(home: HomeSession, role: 'release' | 'head'): Promise<string[]> {
  const { description, paths } = home
  const { document } = await rolesInForce(paths, description.identity.prefix)
  const found = await heldKeys(home, role, document.roles[role].keys)
  return found.length === 0 ? [description.aliases[role]] : found.slice(0, document.roles[role].threshold)
}

/** Aliases of the keystore whose keys are listed for a role, that of the home first. */
async function heldKeys(home: HomeSession, role: 'release' | 'head', listed: readonly string[]): Promise<string[]> {
  const keys = await home.keys()
  const own = home.description.aliases[role]
  const others = keys.store
    .list()
    .map(({ alias }) => alias)
    .filter((alias) => alias.startsWith(`${role}/`) && alias !== own)
  const found: string[] = []
  for (const alias of [own, ...others])
    if (keys.has(alias) && listed.includes(hexEncode(await keys.publicKey(alias)))) found.push(alias)
  return found
}

/**
 * Checks that this home alone can sign for both roles as a role document wants it.
 *
 * @param home - Open home; asks for the passphrase.
 * @param document - In force, or proposed.
 * @throws {@link PublisherError} `REL_COSIGN`.
 */
export async function checkSignsAlone(home: HomeSession, { roles }: Pick<RoleDocument, 'roles'>): Promise<void> {
  for (const role of ['release', 'head'] as const) {
    const { keys, threshold } = roles[role]
    const held = (await heldKeys(home, role, keys)).length
    if (held >= threshold) continue
    throw new PublisherError(
      'REL_COSIGN',
      `Role "${role}" needs ${threshold} signatures, and this home has ${held} of its keys`,
      {
        details: { role, threshold, held },
        hint:
          'Make the release in single steps: "keyturn release prepare" and "sign" here, "keyturn ' +
          'release cosign" elsewhere',
      },
    )
  }
}

/** What a head says beside the release it pins. */
export interface HeadPlan {
  readonly nowMs: number
  /** What those outside a rollout get. */
  readonly fallback?: StoredRelease | undefined
  readonly rollout?: Rollout | undefined
}

/**
 * Signs the next head of a channel for a release of this home, without asking a server: what rotations and
 * demonstrations need. {@link signOffer} is the general form.
 *
 * @throws {@link PublisherError} `CLI_TURN_UNREADY` when the release is not signed; those of {@link signOffer}.
 */
export async function issueHead(home: HomeSession, release: StoredRelease, plan: HeadPlan): Promise<StoredHead> {
  const channel = release.manifest.channel ?? home.description.channel
  requireSigned(release)
  const last = await readStoredHead(home.paths, channel)
  const head = await signOffer(home, channel, {
    offer: {
      manifest: pinOf(release),
      revoked: last?.head.revoked ?? [],
      mirrors: last?.head.mirrors ?? [],
      ...preloadAbove(last?.head, release),
      ...(plan.fallback === undefined ? {} : { fallback: pinOf(plan.fallback) }),
      ...(plan.rollout === undefined ? {} : { rollout: plan.rollout }),
    },
    base: last?.head,
    nowMs: plan.nowMs,
  })
  await storeHead(home.paths, channel, head.bytes)
  return head
}

/** A schedule goes on whatever is released before its time; one of another epoch is over. */
function preloadAbove(
  last: Head | undefined,
  { manifest: { sequence = 0, epoch } }: StoredRelease,
): Pick<Offer, 'preload'> {
  const preload = last?.preload
  return preload === undefined || preload.sequence <= sequence || last?.epoch !== epoch ? {} : { preload }
}

/** How an offer is signed. */
export interface SignOfferOptions {
  readonly offer: Offer
  /** The newest verified head of the channel; undefined before the first. */
  readonly base: Head | undefined
  readonly nowMs: number
  /** Days it is valid; default, and at most, what the role document allows. */
  readonly days?: number | undefined
  /** Keys that sign; default: the head key in force. */
  readonly aliases?: readonly string[] | undefined
  /** Lowest sequence it may get. */
  readonly atLeastSequence?: number | undefined
}

/**
 * Signs an offer as the next head of its channel, naming the log and the role document in force. The head is returned
 * and not kept: see `storeHead` and `noteHeadPublished`.
 *
 * @throws {@link PublisherError} `REL_ROLES_EXPIRED`, `REL_HEAD_JUMP`, `REL_WITHDRAWN`, `CLI_USAGE`.
 */
export async function signOffer(home: HomeSession, channel: string, options: SignOfferOptions): Promise<StoredHead> {
  const { description, paths } = home
  const { offer, nowMs } = options
  const { log } = await readIdentityLog(paths, description.identity.prefix)
  const { document } = await rolesInForce(paths, description.identity.prefix)
  checkRolesLast(document, nowMs)
  checkOffer(channel, offer)
  const head: Head = {
    product: description.product,
    channel,
    epoch: document.epoch,
    sequence: await nextSequence(home, channel, { ...options, document }),
    issuedAt: daysFrom(nowMs, 0),
    expiresAt: daysFrom(nowMs, headDays(document, options.days)),
    log: log.state.lastEstablishment,
    rolesVersion: document.version,
    ...offer,
  }
  const keys = await home.keys()
  const signing = options.aliases ?? (await roleAliases(home, 'head'))
  const signers = await Promise.all(signing.map((alias) => keys.documentSigner(alias)))
  await refuseKilled(paths, signers)
  return { head, bytes: await signHead(writeHead(head), signers) }
}

/**
 * Checks that the role document in force has not expired: launchers refuse everything under it.
 *
 * @throws {@link PublisherError} `REL_ROLES_EXPIRED`.
 */
export function checkRolesLast({ version, expiresAt }: RoleDocument, nowMs: number): void {
  if (nowMs < Date.parse(expiresAt)) return
  throw new PublisherError(
    'REL_ROLES_EXPIRED',
    `Role document ${version} expired at ${expiresAt}: launchers refuse whatever is signed under it`,
    { details: { version, expires_at: expiresAt }, hint: 'Run "keyturn rotate release", which seals a new one' },
  )
}

function headDays({ headDays: allowed = limits.headDays, version }: RoleDocument, days = allowed): number {
  if (days <= allowed) return days
  throw new PublisherError('CLI_USAGE', `Role document ${version} lets heads last ${allowed} days, got ${days}`, {
    hint: `Give --days ${allowed} or less`,
  })
}

/**
 * Checks that a release is of the epoch in force: launchers refuse any other.
 *
 * @throws {@link PublisherError} `REL_EPOCH`.
 */
export function checkEpoch(version: string, found: number, { epoch }: RoleDocument): void {
  if (found === epoch) return
  throw new PublisherError(
    'REL_EPOCH',
    `Release ${version} is of epoch ${found}, the role document in force is of epoch ${epoch}`,
    { hint: `Run "keyturn release rollback ${version}" to offer its files in the new epoch` },
  )
}

function checkOffer(channel: string, { manifest, fallback, rollout, revoked }: Offer): void {
  const isRevoked = (pin: ManifestPin): boolean => revoked.some(({ sha256 }) => sha256 === pin.sha256)
  // A withdrawn release stays in the head while it is halted: nobody is offered it.
  const offered = [...(rollout?.paused === true ? [] : [manifest]), ...(fallback === undefined ? [] : [fallback])]
  const withdrawn = offered.find(isRevoked)
  if (withdrawn === undefined) return
  throw new PublisherError('REL_WITHDRAWN', `Release ${withdrawn.version} was withdrawn on channel "${channel}"`, {
    hint: 'Offer a newer one, or run "keyturn release rollback VERSION" to bring older files back',
  })
}

/** One more than every head of this epoch that launchers, or others, may hold. */
async function nextSequence(
  home: HomeSession,
  channel: string,
  { base, atLeastSequence = 1, document }: SignOfferOptions & { readonly document: RoleDocument },
): Promise<number> {
  const inEpoch = (head: Head | undefined): number => (head?.epoch === document.epoch ? head.sequence : 0)
  const published = inEpoch((await readPublishedHead(home.paths, channel))?.head)
  const waiting = inEpoch((await readWaitingHead(home.paths, channel))?.head)
  const last = inEpoch(base)
  const sequence = Math.max(last + 1, waiting + 1, atLeastSequence)
  // Launchers that hold the last head refuse a longer jump, and nothing but a new epoch would bring them back.
  const known = base === undefined ? 0 : published === 0 ? last : Math.min(published, last)
  if (sequence - known <= limits.sequenceJump) return sequence
  throw new PublisherError(
    'REL_HEAD_JUMP',
    `Head ${sequence} of channel "${channel}" would be more than ${limits.sequenceJump} above head ${known}: ` +
      'launchers refuse that',
    {
      details: { sequence, known },
      hint:
        waiting + 1 === sequence && waiting > last
          ? `Head ${waiting} was signed and never published: run "keyturn release drop-head --channel ${channel}"`
          : 'Run "keyturn release drop-head" if the higher head never reached launchers; otherwise raise the epoch ' +
            'with "keyturn roles propose"',
    },
  )
}

/** @throws {@link PublisherError} `CLI_TURN_UNREADY` when the release is not signed. */
export function requireSigned({ manifest, signatures }: StoredRelease): Uint8Array {
  if (signatures !== undefined) return signatures
  throw new PublisherError('CLI_TURN_UNREADY', `Release ${manifest.version} is not signed yet`, {
    hint: `Run "keyturn release sign ${manifest.version}"`,
  })
}

/** The pin by which a head names a release of the home. */
export function pinOf({ manifest, sha256, bytes }: StoredRelease): ManifestPin {
  return manifestPin(manifest, sha256, bytes.length)
}

import type { Head, ManifestPin, Mirror, Rollout } from '@keyturn/manifest'
import { isWithdrawn } from '@keyturn/manifest'
import { PublisherError } from '../errors.ts'
import type { Offer } from '../records/heads.ts'

/** The offer of a head, to be repeated as it is. */
export function offerOf({ manifest, fallback, rollout, preload, revoked, mirrors }: Head): Offer {
  return {
    manifest,
    revoked,
    mirrors,
    ...(fallback !== undefined && { fallback }),
    ...(rollout !== undefined && { rollout }),
    ...(preload !== undefined && { preload }),
  }
}

/** The release that everybody may have now: the one on offer, or while a rollout runs or is halted, the other one. */
export function offeredToAll({
  manifest,
  fallback,
  rollout,
}: Pick<Offer, 'manifest' | 'fallback' | 'rollout'>): ManifestPin {
  return rollout === undefined || fallback === undefined ? manifest : fallback
}

/** How a release is offered. */
export interface OfferChange {
  /** Share of installs that get it; without it, everyone, or as the running rollout of the same release says. */
  readonly percent?: number | undefined
  /** Lift a halt. */
  readonly resume?: boolean | undefined
  /** What those outside a rollout get; default: what everybody may have now. */
  readonly fallback?: ManifestPin | undefined
  /** Default: those of the last head. */
  readonly mirrors?: readonly Mirror[] | undefined
  /** Salt of a rollout that begins now, 32 lower-case hex. */
  readonly salt: string
}

/**
 * The offer of a release on a channel. A halt is never lifted and a rollout never ended by the way: both need a word.
 *
 * @param base - What the channel offers now; undefined before its first head.
 * @param pin - The release.
 * @param change - How it is offered.
 * @throws {@link PublisherError} `REL_WITHDRAWN`, `REL_HALTED`, `REL_ROLLING_OUT`, `REL_NO_FALLBACK`.
 */
export function offerRelease(base: Head | undefined, pin: ManifestPin, change: OfferChange): Offer {
  if (base !== undefined) checkMayReplace(base, pin, change)
  const rollout = nextRollout(base, pin, change)
  const preload = base?.preload?.sha256 === pin.sha256 ? undefined : base?.preload
  return {
    manifest: pin,
    revoked: base?.revoked ?? [],
    mirrors: change.mirrors ?? base?.mirrors ?? [],
    ...(preload !== undefined && preload.sequence > pin.sequence && { preload }),
    ...(rollout !== undefined && { rollout, fallback: fallbackFor(base, pin, change) }),
  }
}

const isSame = (a: ManifestPin, b: ManifestPin): boolean => a.sha256 === b.sha256

/**
 * Checks that a release may be offered in place of what a channel offers now.
 *
 * @throws {@link PublisherError} `REL_WITHDRAWN`, `REL_HALTED`, `REL_ROLLING_OUT`.
 */
export function checkMayReplace(
  base: Head,
  pin: ManifestPin,
  { percent, resume }: Pick<OfferChange, 'percent' | 'resume'>,
): void {
  const { rollout, manifest, channel } = base
  if (isWithdrawn(base, pin))
    throw new PublisherError('REL_WITHDRAWN', `Release ${pin.version} was withdrawn on channel "${channel}"`, {
      hint: `Offer a newer one, or run "keyturn release rollback VERSION" to bring older files back`,
    })
  if (rollout?.paused === true && resume !== true) {
    throw new PublisherError('REL_HALTED', `Channel "${channel}" is halted at release ${manifest.version}`, {
      hint: isSame(manifest, pin)
        ? 'Give --resume to offer it again'
        : `Give --resume to end the halt and offer ${pin.version} in its place`,
    })
  }
  if (rollout !== undefined && percent === undefined && !rollout.paused && !isSame(manifest, pin)) {
    throw new PublisherError(
      'REL_ROLLING_OUT',
      `Channel "${channel}" is rolling out ${manifest.version} to ${rollout.percent} %`,
      { hint: `Give --percent 100 to offer ${pin.version} to everyone, or the share that gets it` },
    )
  }
}

/** The salt stays while one rollout runs, so that raising the share never drops anyone. */
function nextRollout(base: Head | undefined, pin: ManifestPin, { percent, salt }: OfferChange): Rollout | undefined {
  const running = base !== undefined && isSame(base.manifest, pin) ? base.rollout : undefined
  const share = percent ?? running?.percent ?? 100
  return share === 100 ? undefined : { percent: share, salt: running?.salt ?? salt, paused: false }
}

function fallbackFor(base: Head | undefined, pin: ManifestPin, { fallback }: OfferChange): ManifestPin {
  const found = fallback ?? (base === undefined ? undefined : earlierOffer(base, pin))
  if (found !== undefined && !isSame(found, pin)) return found
  throw new PublisherError('REL_NO_FALLBACK', `There is no other release that those outside the rollout could get`, {
    hint: base === undefined ? 'The first release of a channel goes to everyone' : 'Give --fallback VERSION',
  })
}

function earlierOffer(base: Head, pin: ManifestPin): ManifestPin | undefined {
  const offered = isSame(base.manifest, pin) ? base.fallback : offeredToAll(base)
  return offered !== undefined && !isWithdrawn(base, offered) ? offered : undefined
}

/**
 * Stops the offer of a release: nobody new gets it, everybody else gets the fallback.
 *
 * @param base - What the channel offers now.
 * @param options - `withdraw` also says that it is withdrawn; `fallback` where the head names none yet.
 */
export function haltOffer(
  base: Head,
  { fallback, withdraw, salt }: { readonly fallback: ManifestPin; readonly withdraw: boolean; readonly salt: string },
): Offer {
  const { sequence, sha256 } = base.manifest
  const rollout = { percent: base.rollout?.percent ?? 0, paused: true, salt: base.rollout?.salt ?? salt }
  const revoked = withdraw && !isWithdrawn(base, base.manifest) ? [...base.revoked, { sequence, sha256 }] : base.revoked
  return { ...offerOf(base), fallback: base.fallback ?? fallback, rollout, revoked }
}

/** How the share of a rollout changes. */
export interface RolloutChange {
  readonly percent?: number | undefined
  readonly pause?: boolean | undefined
  readonly resume?: boolean | undefined
  /** What the others get where the head names none yet. */
  readonly fallback?: ManifestPin | undefined
  readonly salt: string
}

/**
 * Changes the share of installs that get the release on offer. A halt stays until `resume` lifts it.
 *
 * @throws {@link PublisherError} `REL_WITHDRAWN`, `REL_NO_FALLBACK`.
 */
export function changeRollout(base: Head, { percent, pause, resume, fallback, salt }: RolloutChange): Offer {
  const { rollout: before, fallback: earlier, ...rest } = offerOf(base)
  const share = percent ?? before?.percent ?? 100
  const paused = pause === true || (resume !== true && before?.paused === true)
  if (!paused && isWithdrawn(base, base.manifest))
    throw new PublisherError(
      'REL_WITHDRAWN',
      `Release ${base.manifest.version} was withdrawn on channel "${base.channel}"`,
      {
        hint: 'Offer a newer one, or run "keyturn release rollback VERSION" to bring older files back',
      },
    )
  if (share === 100 && !paused) return rest
  const others = earlier ?? fallback
  if (others === undefined)
    throw new PublisherError('REL_NO_FALLBACK', 'There is no other release that those outside the rollout could get')
  return { ...rest, fallback: others, rollout: { percent: share, paused, salt: before?.salt ?? salt } }
}

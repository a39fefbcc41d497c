/** When keys are rotated. All times in seconds. */
export interface RotationPolicy {
  /** From active to the next rotation. */
  readonly intervalS: number
  /** How long the next key is published before it is used, so that caches learn it. */
  readonly prePublishS: number
  /** How long the old key still answers. */
  readonly overlapS: number
  /** Added to interval and overlap for the hard stop, `exp`. */
  readonly graceS: number
  /** Share of the interval by which fleets are spread; 0 to 0.1. */
  readonly spread: number
}

const DAY_S = 86_400
/** How often peers look again at the latest, the longest a cache keeps a packet, and the skew of clocks. */
const RECHECK_S = 7 * DAY_S
const MAX_TTL_S = DAY_S
const SKEW_S = 300

/** Shortest overlap in which every peer learns of a rotation: re-check interval, longest cache time and skew. */
export const MIN_OVERLAP_S = RECHECK_S + MAX_TTL_S + SKEW_S

/** Intervals by name, in days. */
export const INTERVAL_PRESETS = { weekly: 7, monthly: 30, quarterly: 90, yearly: 365 } as const

/** 90 days, announced a day before, 8 days (and 5 minutes of skew) of overlap, hard stop 30 days later. */
export const DEFAULT_ROTATION_POLICY: RotationPolicy = {
  intervalS: 90 * DAY_S,
  prePublishS: DAY_S,
  overlapS: MIN_OVERLAP_S,
  graceS: 30 * DAY_S,
  spread: 0.1,
}

/**
 * Completes and checks a policy.
 *
 * @throws RangeError where a peer could miss a rotation, or a record would outlive its 366 days.
 */
export function rotationPolicy(change: Partial<RotationPolicy> = {}): RotationPolicy {
  const policy = { ...DEFAULT_ROTATION_POLICY, ...change }
  const { intervalS, prePublishS, overlapS, graceS, spread } = policy
  if (!Object.values(policy).every((value) => Number.isFinite(value) && value >= 0))
    throw new RangeError('Rotation policy: a value is negative')
  if (intervalS < DAY_S || intervalS > 365 * DAY_S)
    throw new RangeError('Rotation policy: interval is not from 1 to 365 days')
  if (overlapS < MIN_OVERLAP_S)
    throw new RangeError(`Rotation policy: overlap is under ${MIN_OVERLAP_S} s, so a peer could miss a rotation`)
  if (prePublishS >= intervalS)
    throw new RangeError('Rotation policy: the next key would be announced before its predecessor is active')
  if (spread > 0.1) throw new RangeError('Rotation policy: spread is over 0.1')
  if (graceS > 366 * DAY_S) throw new RangeError('Rotation policy: grace is over 366 days')
  return policy
}

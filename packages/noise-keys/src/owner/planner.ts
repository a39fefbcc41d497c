import { concatBytes, sha256, utf8Encode } from '@keyturn/primitives'
import type { OwnKey, TransportMetadata } from './metadata.ts'
import type { RotationPolicy } from './policy.ts'
import { activeKey, nextKey } from './key-states.ts'

/** What to do, and when. */
export type PlanAction = 'announce-next' | 'cut-over' | 'retire' | 'refresh' | 'remind-80' | 'remind-100' | 'hard-stop'

/** A step of the plan. */
export interface PlanStep {
  readonly action: PlanAction
  /** Unix seconds. */
  readonly atS: number
  readonly device: string
  /** Whether its time has come. */
  readonly due: boolean
}

/** What is to be done with an identity's keys. */
export interface RotationPlan {
  /** In order of time. */
  readonly steps: readonly PlanStep[]
  /** When the active key is to be turned, after spreading; `undefined` without one. */
  readonly turnAtS?: number | undefined
  /** Age of the active key in whole days; 0 when its date lies ahead. */
  readonly ageDays: number
  readonly warnings: readonly string[]
}

const DAY_S = 86_400
/** Publish again before a record or list is nearly over, so that a missed run does no harm. */
const REFRESH_BEFORE_S = 14 * DAY_S
const LIST_REFRESH_S = 7 * DAY_S

/**
 * Plans from metadata, policy and the time alone, so that it can be shown, tested with any clock and run from cron.
 *
 * @param policy - The metadata's own by default.
 * @param nowS - Unix seconds.
 */
export function planRotation(
  metadata: TransportMetadata,
  policy: RotationPolicy = metadata.policy,
  nowS: number,
): RotationPlan {
  const active = activeKey(metadata)
  const retirements = metadata.keys
    .filter(({ state }) => state === 'retiring')
    .map((key) => step('retire', key.retiringUntilS ?? nowS, key, nowS))
  if (active === undefined) return { steps: retirements, ageDays: 0, warnings: ['no key is active'] }
  const sinceS = active.activeFromS ?? active.createdAtS
  const turnAtS = Math.floor(
    sinceS + policy.intervalS * (1 - spreadOf(metadata.identity, active.device) * policy.spread),
  )
  const next = nextKey(metadata)
  const steps = [
    ...retirements,
    ...(next === undefined ? [step('announce-next', turnAtS - policy.prePublishS, active, nowS)] : []),
    // A key that was not announced long enough is not used yet: caches would not know it.
    step('cut-over', Math.max(turnAtS, next?.activeFromS ?? turnAtS), next ?? active, nowS),
    step('remind-80', Math.floor(sinceS + policy.intervalS * 0.8), active, nowS),
    step('remind-100', sinceS + policy.intervalS, active, nowS),
    step('refresh', refreshAt(active, policy), active, nowS),
    step('hard-stop', sinceS + policy.intervalS + policy.overlapS + policy.graceS, active, nowS),
  ]
  return {
    steps: steps.sort((a, b) => a.atS - b.atS),
    turnAtS,
    ageDays: ageDays(sinceS, nowS),
    warnings: warningsOf(metadata, nowS),
  }
}

/** Whole days since `sinceS`. A clock that was set back gives 0, never a huge number. */
export function ageDays(sinceS: number, nowS: number): number {
  return Math.max(0, Math.floor((nowS - sinceS) / DAY_S))
}

/** Whether a key is due by the guide's rule: age in whole days at or over the policy. */
export function shouldRotate(sinceS: number, policyDays: number, nowS: number): boolean {
  return ageDays(sinceS, nowS) >= policyDays
}

/** Reminders whose time has come, the latest last. */
export function remindersDue(plan: RotationPlan): PlanStep[] {
  return plan.steps.filter(
    ({ action, due }) => due && (action === 'remind-80' || action === 'remind-100' || action === 'hard-stop'),
  )
}

/** When the records of a key end: its hard stop, never more than a record may live. */
export function recordExpiry(key: OwnKey, policy: RotationPolicy, nowS: number): number {
  const sinceS = key.activeFromS ?? nowS
  const hardStopS = sinceS + policy.intervalS + policy.overlapS + policy.graceS
  return Math.min(Math.max(hardStopS, nowS + DAY_S), nowS + 366 * DAY_S)
}

/** The list is refreshed weekly: unanchored readers take lists of a day only, anchored ones until its `exp`. */
export const LIST_LIFE_S = 90 * DAY_S

function refreshAt(active: OwnKey, policy: RotationPolicy): number {
  const publishedS = active.publishedAtS ?? active.createdAtS
  return Math.min(publishedS + LIST_REFRESH_S * 4, recordExpiry(active, policy, publishedS) - REFRESH_BEFORE_S)
}

function step(action: PlanAction, atS: number, key: OwnKey, nowS: number): PlanStep {
  return { action, atS, device: key.device, due: nowS >= atS }
}

/** 0 to 1, the same for a device always: so that a fleet does not rotate within one hour. */
function spreadOf(identity: string, device: string): number {
  const digest = sha256(concatBytes(utf8Encode(identity), new Uint8Array(1), utf8Encode(device)))
  return new DataView(digest.buffer).getUint32(0) / 0x1_0000_0000
}

function warningsOf(metadata: TransportMetadata, nowS: number): string[] {
  const ahead = metadata.keys.filter(({ createdAtS }) => createdAtS > nowS).map(({ device }) => device)
  return ahead.length === 0 ? [] : [`made in the future by this clock: ${ahead.join(', ')}`]
}

import { defaultPolicyDays } from '../home-policy.ts'
import type { DueKind } from '../home-policy.ts'
import type { HomeDescription } from '../home.ts'

/** How near something is to its date. */
export type DueState = 'ok' | 'soon' | 'due' | 'expired'

const DAY_MS = 86_400_000
/** A key is announced when this share of its time has passed. */
const SOON_SHARE = 0.8

/** A date and how near it is. */
export interface DueDate {
  /** Milliseconds since the epoch. */
  readonly atMs: number
  readonly state: DueState
}

/**
 * When a key is due: its age against the policy, announced at 80 % of it.
 *
 * @param kind - Which policy.
 * @param sinceMs - When it came into force.
 * @param description - Of the home, for its policy.
 * @param nowMs - Now.
 */
export function keyDue(
  kind: DueKind,
  sinceMs: number,
  description: Pick<HomeDescription, 'policy'>,
  nowMs: number,
): DueDate {
  const days = description.policy?.[kind] ?? defaultPolicyDays[kind]
  const atMs = sinceMs + days * DAY_MS
  if (nowMs >= atMs) return { atMs, state: 'due' }
  return { atMs, state: nowMs >= sinceMs + days * DAY_MS * SOON_SHARE ? 'soon' : 'ok' }
}

/**
 * How near a signed document is to its end.
 *
 * @param expiresMs - When.
 * @param renewDays - Days before that in which it should be renewed.
 * @param nowMs - Now.
 */
export function documentDue(expiresMs: number, renewDays: number, nowMs: number): DueDate {
  if (nowMs >= expiresMs) return { atMs: expiresMs, state: 'expired' }
  return { atMs: expiresMs, state: nowMs >= expiresMs - renewDays * DAY_MS ? 'due' : 'ok' }
}

/** Whole days between two moments. */
export function daysBetween(fromMs: number, toMs: number): number {
  return Math.floor((toMs - fromMs) / DAY_MS)
}

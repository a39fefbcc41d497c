import { daysBetween } from './due.ts'
import type { DueDate, DueState } from './due.ts'

/** One key or document of a home, with its dates. */
export interface StatusItem {
  /**
   * `content`, `identity`, `release`, `head`, `transport-identity`, `transport`, `archive-signing`, `master`, `roles`,
   * `head-document`, `manifest`, `scheduled`, `revoked`.
   */
  readonly kind: string
  /** Which one: an alias, a key_id, a channel, a device. */
  readonly id: string
  /** Public key, fingerprint or version: what distinguishes it from others. */
  readonly name: string
  readonly state: 'active' | 'next' | 'retiring' | 'retired' | 'revoked' | 'killed'
  /** ISO 8601; undefined when unknown. */
  readonly since: string | undefined
  readonly age_days: number | undefined
  readonly due: string | undefined
  readonly due_state: DueState
  /** When the overlap with its predecessor or successor ends; undefined when there is none. */
  readonly overlap_ends: string | undefined
  /** The command that rotates or renews it; empty when there is none. */
  readonly mend: string
}

/** What an item is made from. */
export interface ItemFacts extends Pick<StatusItem, 'kind' | 'id' | 'name' | 'mend'> {
  readonly state?: StatusItem['state']
  readonly sinceMs?: number | undefined
  readonly due?: DueDate | undefined
  readonly overlapEndsMs?: number | undefined
}

/** Makes an item, dates as ISO 8601. */
export function statusItem(
  { kind, id, name, mend, state = 'active', sinceMs, due, overlapEndsMs }: ItemFacts,
  nowMs: number,
): StatusItem {
  return {
    kind,
    id,
    name,
    state,
    mend,
    since: iso(sinceMs),
    age_days: sinceMs === undefined ? undefined : daysBetween(sinceMs, nowMs),
    due: iso(due?.atMs),
    due_state: due?.state ?? 'ok',
    overlap_ends: iso(overlapEndsMs),
  }
}

function iso(ms: number | undefined): string | undefined {
  return ms === undefined ? undefined : new Date(ms).toISOString()
}
